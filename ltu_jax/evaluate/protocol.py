"""How the published scripts make scores of classes from an answer in words.

An answer becomes one text or several, each `sound of ...`; so does each class.
The score of a class is the cosine between the two, added over the texts of an
answer ("accu") or the greatest of them and 0 ("max"). What is cut from an
answer, and how, differs from set to set and follows the scripts to the letter,
as the published numbers depend on it: `src/ltu/eval/eval_*.py` of
github.com/YuanGongND/ltu.

Axis letters: N items, C classes, U different texts.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ltu_jax.evaluate.embeddings.embedder import Embedder

ACCU, MAX = "accu", "max"
"""Rules: scores of texts are added up, or the greatest counts."""


@dataclasses.dataclass(frozen=True)
class _Protocol:
  """Of a set.

  Attributes:
    rule: ACCU or MAX.
    caption: What is taken from an answer that is a caption.
    labels: What is taken from an answer that lists labels.
    class_name: A class as it is written in its text.
  """

  rule: str
  caption: Callable[[str], str]
  labels: Callable[[str], list[str]]
  class_name: Callable[[str], str]


def _after_head(answer: str) -> str:
  """`Audio caption: A dog barks` without quotes and what stands in front.

  Without these words, the first two characters are lost, as published.
  """
  return answer.replace('"', "").split("Audio caption")[-1][2:]


def _after_colon(answer: str) -> str:
  """What follows the last colon, without spaces in front of it."""
  return answer.split(":")[-1].lstrip()


def _after_colon_and_space(answer: str) -> str:
  """What follows the last colon and one character, whatever that is."""
  return answer.split(":")[-1][1:]


def _listed(answer: str) -> list[str]:
  """`Labels: A; B. More` -> A, B, each with the spaces around it."""
  return answer.split(":")[-1].split(".")[0][1:].split(";")


def _listed_after_colon(answer: str) -> list[str]:
  """`Labels: A; B` -> A, B, the first with the space in front of it."""
  return answer.split(":")[-1].split("; ")


def _listed_after_colon_and_space(answer: str) -> list[str]:
  """`Labels: A; B` -> A, B; a colon without a space behind it is text."""
  return answer.split(": ")[-1].split("; ")


def _spaced(label: str) -> str:
  """`crackling_fire` -> `crackling fire`."""
  return label.replace("_", " ")


def _listing(label: str) -> str:
  """`bird chirping_ tweeting`, or with a comma -> `bird chirping,  tweeting`.

  The published list of VGGSound has underscores for commas, and the scripts put
  a comma and a space for each: with the space that was there it makes two.
  """
  return label.replace(",", "_").replace("_", ", ")


def _as_is(label: str) -> str:
  return label


_GENERAL = _Protocol(ACCU, _after_colon, _listed, _spaced)
_ONE_LABEL = _Protocol(MAX, _after_colon_and_space, _listed, _spaced)
_PROTOCOLS = {
  "audioset": _Protocol(ACCU, _after_head, _listed_after_colon, _as_is),
  "fsd50k": _Protocol(
    ACCU, _after_head, _listed_after_colon_and_space, _spaced
  ),
  "vggsound": _Protocol(MAX, _after_head, _listed, _listing),
  "esc50": _GENERAL,
  "vocalsound": _ONE_LABEL,
  "dcase2017": _ONE_LABEL,
  "tut2017": _ONE_LABEL,
  "beijing_opera": _ONE_LABEL,
}


def rule_of(name: str) -> str:
  """How a set's scores of several texts become one: ACCU or MAX.

  Args:
    name: Of the set. One that was not published goes as ESC-50, here and
      below.
  """
  return _of(name).rule


def caption_texts(name: str, answer: str) -> list[str]:
  """The text of an answer to the published question, which asks for a caption.

  Args:
    name: Of the set.
    answer: What the model said, of any form; may be "".

  Returns:
    One text, `sound of ...`.
  """
  return _texts([_of(name).caption(answer)], strip=False)


def label_texts(name: str, answer: str) -> list[str]:
  """The texts of an answer to the question for labels.

  Args:
    name: Of the set.
    answer: What the model said, such as `Labels: Dog; Bark`.

  Returns:
    One text for each label, at least one.
  """
  return _texts(_of(name).labels(answer), strip=True)


def class_texts(name: str, labels: Sequence[str]) -> list[str]:
  """The texts of a set's classes.

  Args:
    name: Of the set.
    labels: The classes, as the set's own list has them.

  Returns:
    One text for each, in their order.
  """
  return _texts([_of(name).class_name(label) for label in labels], strip=False)


def class_scores(
  texts: Sequence[Sequence[str]],
  classes: Sequence[str],
  embedder: Embedder,
  rule: str,
) -> np.ndarray:
  """Scores of all classes for all answers.

  An answer that is the very text of a class scores 1 there, the most that a
  text can; equal answers have equal scores, so that a model that says one thing
  of everything gets the share of the class that it names.

  Args:
    texts: Of each answer, from `caption_texts` or `label_texts`; all scores of
      an answer without texts are 0.
    classes: From `class_texts`.
    embedder: Asked once, for all different texts.
    rule: ACCU or MAX, see `rule_of`.

  Returns:
    float32 [N, C].

  Raises:
    EvaluateError: The embedder's.
  """
  scores = np.zeros((len(texts), len(classes)), np.float32)
  counts = np.array([len(some) for some in texts], np.int64)
  if not len(classes) or not counts.sum():
    return scores
  different = dict.fromkeys(text for some in [*texts, classes] for text in some)
  rows = {text: row for row, text in enumerate(different)}
  vectors = embedder(list(rows))
  cosines = vectors @ vectors[[rows[text] for text in classes]].T
  said = np.array([rows[text] for some in texts for text in some])
  filled = np.flatnonzero(counts)
  starts = (np.cumsum(counts) - counts)[filled]
  if rule == ACCU:
    scores[filled] = np.add.reduceat(cosines[said], starts, axis=0)
  elif rule == MAX:
    best = np.maximum.reduceat(cosines[said], starts, axis=0)
    # The published maximum starts at 0.
    scores[filled] = np.maximum(best, 0)
  else:
    raise ValueError(f"rule is {rule!r}, neither {ACCU} nor {MAX}")
  return scores


def _of(name: str) -> _Protocol:
  return _PROTOCOLS.get(name, _GENERAL)


def _texts(parts: Sequence[str], strip: bool) -> list[str]:
  """What is embedded: `sound of ` and the part in small letters."""
  parts = [part.lower() for part in parts]
  return ["sound of " + (part.lstrip() if strip else part) for part in parts]
