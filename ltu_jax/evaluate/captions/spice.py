"""SPICE 1.0: things, attributes and relations that answer and references share.

P. Anderson, B. Fernando, M. Johnson, S. Gould, SPICE: Semantic Propositional
Image Caption Evaluation, ECCV 2016. The Java program of pycocoevalcap computes
it. Two files that it needs are not in the package, and pycocoevalcap would
fetch them when it is first used; nothing here does.
"""

import json
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from ltu_jax.evaluate.captions import java

_JAR = "spice-1.0.jar"
_MODELS = (
  "lib/stanford-corenlp-3.6.0.jar",
  "lib/stanford-corenlp-3.6.0-models.jar",
)
_HOW = (
  "`python -m pycocoevalcap.spice.get_stanford_models` downloads Stanford "
  "CoreNLP 3.6.0 and puts them there, or copy them from a machine that has them"
)

_OLDEST, _NEWEST = 8, 14
"""Releases of Java: the program writes its result with the JavaScript engine
that Java 15 removed."""

_MEMORY = "8G"
"""As pycocoevalcap runs it."""

_LIMIT_S, _LIMIT_CAPTION_S = 1200.0, 0.5
"""For loading and for parsing a caption: far more than a slow machine takes."""


def check() -> pathlib.Path:
  """Returns the program's folder if SPICE can be computed here.

  Raises:
    NotComputedError: All that keeps it from that.
  """
  folder = java.package("spice")
  reasons = []
  for condition in (
    lambda: java.need(folder, [_JAR]),
    lambda: java.need(folder, _MODELS, _HOW),
    _check_version,
  ):
    try:
      condition()
    except java.NotComputedError as error:
      reasons.append(str(error))
  if reasons:
    raise java.NotComputedError("; and ".join(reasons))
  return folder


def spice(
  answers: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """Returns the score of each item's answer, by Java.

  Args:
    answers: One of each item, tokens with spaces between.
    references: Of each item one or more.

  Returns:
    Float64 [n], 0 to 1. An empty answer has 0.

  Raises:
    NotComputedError: See `check`; or Java failed.
  """
  folder = check()
  scores = np.zeros(len(answers))
  asked = []
  for i, pair in enumerate(zip(answers, references, strict=True)):
    texts = [text for text in pair[1] if text.strip()]
    if pair[0].strip() and texts:
      asked.append({"image_id": i, "test": pair[0], "refs": texts})
  if not asked:
    return scores
  captions = sum(1 + len(item["refs"]) for item in asked)
  with tempfile.TemporaryDirectory() as temporary:
    given = pathlib.Path(temporary, "in")
    result = pathlib.Path(temporary, "out")
    given.write_text(json.dumps(asked), encoding="ascii")
    # No -cache: it needs a native library that not every machine can load.
    java.run(
      ["-jar", _JAR, str(given), "-out", str(result), "-silent"],
      limit_s=_LIMIT_S + _LIMIT_CAPTION_S * captions,
      folder=folder,
      memory=_MEMORY,
    )
    for i, score in read(result, len(asked)).items():
      scores[i] = score
  return scores


def read(path: pathlib.Path, count: int) -> dict[int, float]:
  """Returns scores by item from the program's result.

  Args:
    path: The file that it wrote.
    count: Items that it was asked about.

  Raises:
    NotComputedError: The file is missing, damaged or short.
  """
  try:
    rows = json.loads(path.read_text(encoding="utf-8"))
    scores = {r["image_id"]: float(r["scores"]["All"]["f"]) for r in rows}
  except (OSError, ValueError, LookupError, TypeError) as error:
    raise java.NotComputedError(
      f"{_JAR} left no result that can be read: {error!r}"
    ) from error
  if len(scores) != count:
    raise java.NotComputedError(f"{_JAR} scored {len(scores)} items of {count}")
  return scores


def _check_version() -> None:
  """Raises unless this Java can run the program to its end."""
  number = java.version()
  if not _OLDEST <= number <= _NEWEST:
    raise java.NotComputedError(
      f"{_JAR} needs Java {_OLDEST} to {_NEWEST} and {java.find()} is Java "
      f"{number}; name a folder of another in JAVA_HOME"
    )
