"""Asking all items of a set, and the files that a later start goes on in.

OUT/asked/NAME.json   how was asked: an answer given otherwise is none of ours
OUT/asked/NAME.jsonl  a line an item, as `ask --out` writes it

Several processes share the items: each asks every n-th, into a file of its own.
Where one model lies on the devices of all, every process asks all of them.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ltu_jax import json_text, processes
from ltu_jax.ask import asking
from ltu_jax.ask.answers_file import AnswersFile
from ltu_jax.ask.items import Item as Asked
from ltu_jax.ask.results import Result
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets.spec import Item
from ltu_jax.progress import Progress, Tell


@dataclasses.dataclass(frozen=True)
class Replies:
  """What a model said to one item.

  Attributes:
    texts: Its answers: one, or several samples; empty after an error.
    error: Why there is none; "" if there is.
  """

  texts: tuple[str, ...] = ()
  error: str = ""


def ask_all(
  items: Sequence[Item],
  answers: asking.Answers,
  way: asking.Way,
  path: pathlib.Path,
  how: Mapping[str, Any],
  tell: Tell,
  *,
  alone: bool = False,
) -> list[Replies]:
  """Asks what has no answer yet; all processes must call it.

  Args:
    items: All items.
    answers: Answers questions: this process's model.
    way: How they are asked.
    path: OUT/asked/NAME, without an ending.
    how: All that answers depend on; compared with what is there.
    tell: Takes a line every few seconds: how many, and how long it will take.
    alone: Ask all of them in this process.

  Returns:
    What was said to each item, in order, the same in all processes.

  Raises:
    EvaluateError: There are answers that were given otherwise.
    AskError: The file cannot be written, or is of other questions.
  """
  mine = [as_asked(n, items[n]) for n in share(len(items), alone)]
  path = check_how(path, how)
  with AnswersFile(str(path.with_suffix(".jsonl")), mine) as file:
    progress = Progress(path.name, len(mine), file.num_done, tell)

    def add(result: Result) -> None:
      file.add(result)
      progress.advance(f"{result.name}: {result.error}" * bool(result.error))

    left = (item for item in mine if not file.is_done(item))
    asking.ask(left, answers, way, add)
    progress.end()
  lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
  found: dict[int, Replies] = {}
  own = "\n".join(lines)
  for text in [own] if alone else processes.gather(own):
    for line in text.split("\n") if text else ():
      record = json_text.parse(line)
      found[record["item"]] = _replies(record)
  return [found[number] for number in range(len(items))]


def check_how(path: pathlib.Path, how: Mapping[str, Any]) -> pathlib.Path:
  """Notes how is asked, or compares it with what was noted.

  Args:
    path: OUT/asked/NAME.
    how: Plain values.

  Returns:
    The path, with this process's number if there are several.

  Raises:
    EvaluateError: Something differs; says what.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  if jax.process_count() > 1:
    which = f"-{jax.process_index()}-of-{jax.process_count()}"
    path = path.with_name(path.name + which)
  # As it is read back: tuples are lists.
  how = json.loads(json.dumps(how))
  noted = path.with_suffix(".json")
  if noted.exists():
    try:
      before = json_text.read(noted)
    except (OSError, ValueError) as error:
      raise EvaluateError(
        f"{noted}: cannot be read ({error}); remove it and what is beside it."
      ) from error
    if differing := differences(before, how):
      raise EvaluateError(
        f"{path.with_suffix('')}.*: asked in another way: "
        f"{'; '.join(differing)}. Give another --out, or --again to ask anew."
      )
    return path
  part = noted.with_suffix(".part")
  part.write_text(json.dumps(how, indent=1) + "\n", encoding="utf-8")
  os.replace(part, noted)
  return path


def differences(
  before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> list[str]:
  """Says in which fields two nested mappings differ, "FIELD: A, now B"."""
  lines = []
  for key in [*before, *(k for k in now if k not in before)]:
    a, b = before.get(key), now.get(key)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
      lines += differences(a, b, f"{prefix}{key}.")
    elif a != b:
      lines.append(f"{prefix}{key}: {_short(a)}, now {_short(b)}")
  return lines


def share(count: int, alone: bool) -> range:
  """The numbers of the items that this process asks about.

  Args:
    count: Items.
    alone: It asks about all.
  """
  if alone:
    return range(count)
  return range(jax.process_index(), count, jax.process_count())


def as_asked(number: int, item: Item) -> Asked:
  """An item as `ask` takes it."""
  return Asked(
    number,
    item.audio or None,
    item.path and str(item.path),
    item.question,
    item.input,
    read=item.read,
  )


def _replies(record: Mapping[str, Any]) -> Replies:
  """A line of an answers file."""
  if "error" in record:
    return Replies(error=record["error"])
  samples = record.get("samples") or [record]
  return Replies(tuple(sample["answer"] for sample in samples))


def _short(value: Any) -> str:
  """A value for a message."""
  text = json.dumps(value, ensure_ascii=False)
  return text if len(text) <= 60 else f"{text[:57]}..."
