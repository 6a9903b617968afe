"""Questions out of OpenAQA's JSON files, one at a time, each checked.

A file is one list of objects with `instruction` (the question), `input`
(usually empty), `audio_id` (a path on somebody's disk), `dataset`, `task` and
`output` (the answer), as published at https://github.com/YuanGongND/ltu. The
full file is 2.3 GB, and is never held.
"""

import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from etils import epath

from ltu_jax import json_items, utf8_stream
from tfds_builders.openaqa.full.tally import Tally

_PIECE = 1 << 20

BAD = {
  "not_an_object": "left out: an entry has to be an object",
  "missing_key": "left out: instruction, audio_id and output are needed",
  "wrong_type": "left out: all values have to be texts",
  "empty_question": "left out: nothing is asked",
  "empty_answer": "left out: nothing is answered",
  "empty_audio_id": "left out: no clip is named",
  "bad_name": "left out: a name is too long (task and data set 200 characters,"
  " audio_id 4096), or a task or data set holds control characters",
}
"""Kinds of entries that are wrong; too many of them end a build."""

UNANSWERABLE = "unanswerable"

LEFT_OUT = BAD | {
  UNANSWERABLE: "left out, as asked for: the answer says that the audio does"
  " not tell",
}
"""Kinds of entries that are not used."""

MENDED = {
  "encoding": "used: bytes that are not UTF-8 were read as Windows-1252, halves"
  " of characters as U+FFFD",
  "no_task": "used: the task is set to `unknown`; stages select by it",
  "no_dataset": "used: the data set is set to `unknown`",
}
"""Kinds of entries that are used, but not as they are."""

# Shows a value in an example, however long or deeply nested it is.
_SHOW = reprlib.Repr()
_SHOW.maxstring = _SHOW.maxother = 300

UNKNOWN = "unknown"
"""Task or data set of an entry that names none (both are optional)."""

_NEEDED = ("instruction", "audio_id", "output")
_OPTIONAL = ("input", "task", "dataset")
_EMPTY = {
  "instruction": "empty_question",
  "output": "empty_answer",
  "audio_id": "empty_audio_id",
}

# The question index has all task names in memory, as wide as the widest, and
# reports print them; a path on Linux has at most 4096 bytes.
_LONGEST = {"task": 200, "dataset": 200, "audio_id": 4096}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# openaqa/utils/filter_not_answerable_qa.py of the published code drops an
# answer that holds one of its phrases, in lower case. These are the phrases
# that none of the others is part of.
UNANSWERABLE_PHRASES = (
  "not provided",
  "sorry",
  "cannot",
  "without more information",
  "enough",
  "not possible",
  "more context",
  "impossible",
  "without additional",
  "unclear",
  "not clear",
  "do not provide sufficient",
  "does not provide",
  "difficult to determine",
  "no information",
  "can't infer",
  "difficult to infer",
  "not specified",
  "no specific",
  "it is difficult to",
  "no indication",
)
"""An answer that holds one of these says that the audio does not tell."""


class JsonError(ValueError):
  """A file that is no list of entries; names it, says where and why."""


class Entry(NamedTuple):
  """One question as published.

  Attributes:
    audio_id: Names the clip; a path of which the last part counts.
    instruction: The question.
    input: More text of the question, usually empty.
    output: The answer.
    task: Kind of question, as `cla_label`.
    dataset: Where the clip is from, as `as_strong_train`.
  """

  audio_id: str
  instruction: str
  input: str
  output: str
  task: str
  dataset: str


def is_unanswerable(answer: str) -> bool:
  """Whether the published filter would drop an answer (5.6 M -> 5.0 M)."""
  answer = answer.lower()
  return any(phrase in answer for phrase in UNANSWERABLE_PHRASES)


class EntryReader:
  """Reads the entries of one file.

  Attributes:
    name: Name of the file.
    num_bytes: Its size.
    num_read: Entries so far, good and bad.
    position: Bytes of the file so far.
    sha256: Of the whole file, once it was read.
  """

  def __init__(
    self,
    path: epath.PathLike,
    left_out: Tally,
    mended: Tally,
    *,
    keep_unanswerable: bool = True,
  ):
    """Notes what to read; nothing is read yet.

    Args:
      path: The JSON file, on a disk or in a bucket.
      left_out: Counts what is not used; its rules are `LEFT_OUT`.
      mended: Counts what is used, but not as it is; its rules are `MENDED`.
      keep_unanswerable: Whether answers that the published filter drops stay.

    Raises:
      JsonError: If there is no such file.
    """
    self._path = epath.Path(path)
    if not self._path.exists():
      raise JsonError(f"{self._path}: there is no such file")
    self.name = self._path.name
    self.num_bytes = self._path.stat().length
    self._left_out = left_out
    self._mended = mended
    self._keep_unanswerable = keep_unanswerable
    self.num_read = self.position = 0
    self.sha256 = ""

  def __iter__(self) -> Iterator[Entry]:
    """Yields the good entries in the order of the file.

    Raises:
      JsonError: If the file is no JSON, or ends early, or is no list, or has
        an entry of over 4 MB.
    """
    self._check_list()
    with self._path.open("rb") as file:
      stream = utf8_stream.Utf8Stream(file)
      for value in self._values(stream):
        self.num_read += 1
        self.position = stream.position
        entry = self._check(value, has_strays=stream.strays > 0)
        if entry is not None:
          yield entry
      self.position = stream.position
      self.sha256 = stream.sha256.hexdigest()

  def _check_list(self) -> None:
    """Raises unless the file begins with a list."""
    with self._path.open("rb") as file:
      start = utf8_stream.Utf8Stream(file).read(_PIECE).lstrip()
    if not start:
      raise JsonError(f"{self._path}: the file is empty; download it again")
    if not start.startswith(b"["):
      raise JsonError(
        f"{self._path}: is no list of entries: it has to begin with [ and"
        f" begins with {start[:20].decode(errors='replace')!r}"
      )

  def _values(self, stream: utf8_stream.Utf8Stream) -> Iterator[object]:
    """Yields the items of the list; errors get the file's name."""
    try:
      yield from json_items.read(stream)
    except json_items.ItemError as error:
      where = f"after {self.num_read} entries"
      if "premature EOF" in str(error):
        where += ", where the file ends early; download it again"
      else:
        where += f", before byte {stream.position}: {error}"
      wrong = "is no valid JSON"
      if isinstance(error, json_items.TooLongError):
        wrong = "cannot be read"
      raise JsonError(f"{self._path}: {wrong}: {where}") from error

  def _check(self, value: object, has_strays: bool) -> Entry | None:
    """Makes an entry of a JSON value; counts what is wrong with it."""
    problem = _problem(value)
    if problem is not None:
      kind, why = problem
      self._left_out.add(kind, f"{self._where()}: {why}")
      return None
    texts = {key: value.get(key) or "" for key in (*_NEEDED, *_OPTIONAL)}
    if has_strays and any(map(utf8_stream.has_stray, texts.values())):
      texts = {key: utf8_stream.mend(text) for key, text in texts.items()}
      self._mended.add("encoding", f"{self._where()}: {texts['output']}")
    for key in ("task", "dataset"):
      if not texts[key].strip():
        texts[key] = UNKNOWN
        self._mended.add(f"no_{key}", f"{self._where()}: {texts['audio_id']}")
    entry = Entry(**texts)
    if not self._keep_unanswerable and is_unanswerable(entry.output):
      self._left_out.add(UNANSWERABLE, f"{self._where()}: {entry.output}")
      return None
    return entry

  def _where(self) -> str:
    """Names the present entry, counted from 1."""
    return f"{self.name} entry {self.num_read}"


def _problem(value: object) -> tuple[str, str] | None:
  """Returns what is wrong with an entry, as kind and words; None if nothing."""
  if not isinstance(value, Mapping):
    return "not_an_object", _SHOW.repr(value)
  for key in _NEEDED:
    if key not in value:
      return "missing_key", f"no {key}, only {', '.join(map(str, value))}"
  for key in (*_NEEDED, *_OPTIONAL):
    text = value.get(key)
    # null stands for nothing where nothing is allowed.
    if not isinstance(text, str) and (key in _NEEDED or text is not None):
      return "wrong_type", f"{key} is {_SHOW.repr(text)}"
  for key, kind in _EMPTY.items():
    if not value[key].strip():
      return kind, f"{key} is {value[key]!r}, about {value['audio_id']!r}"
  for key, longest in _LONGEST.items():
    text = value.get(key) or ""
    if len(text) > longest or (key != "audio_id" and _CONTROL.search(text)):
      return "bad_name", f"{key} is {_SHOW.repr(text)}"
  return None
