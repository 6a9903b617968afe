"""The command `features`: acoustic features of labels by a language model.

python -m ltu_jax.aqa features --labels=labels.txt --out=features.tsv
  --model=NAME
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

from ltu_jax.aqa.asking import features
from ltu_jax.aqa.errors import AqaError
from ltu_jax.endpoint import asking, cost, flags, kept
from ltu_jax.endpoint.chat import Chat
from ltu_jax.endpoint.kept import KeptFile
from ltu_jax.evaluate.sets import tables

_COLUMNS = ("label", "feature")

_MISSING = 1
"""Status if labels are left without a feature."""


def add_parser(commands) -> None:
  """Adds `features` to the commands of argparse's `add_subparsers`."""
  parser = commands.add_parser(
    "features",
    help="acoustic features of labels, by a language model",
    description="Ask a language model how each label sounds, once. Rows that "
    "FILE has are kept as they are, and may be written by hand; replies are "
    "kept in FILE.replies.jsonl.",
    epilog="Exit status: 0 done, 1 labels are left without a feature, 2 a "
    "mistake in the call, 130 stopped by Ctrl-C.",
    allow_abbrev=False,
  )
  flag = parser.add_argument
  flag("--labels", required=True, metavar="FILE", help="a label on each line")
  flag(
    "--out",
    required=True,
    metavar="FILE",
    help="table with the columns label and feature, and tabs between them",
  )
  flag(
    "--max_tokens",
    type=flags.positive,
    default=64,
    help="of a reply; models that think first need more; default: %(default)s",
  )
  flags.add(parser)


def run(args: argparse.Namespace) -> int:
  """Asks, and writes the table.

  Args:
    args: Of the parser above.

  Returns:
    Exit status.

  Raises:
    AqaError: A file cannot be read or written.
    EndpointError: The server cannot be asked, or the replies' file is none.
    EvaluateError: The table is damaged.
  """
  settings = flags.settings(args)
  path = pathlib.Path(args.out)
  labels = _labels(pathlib.Path(args.labels))
  known = _known(path)
  missing = [label for label in labels if label not in known]
  with KeptFile(path.with_name(f"{path.name}.replies.jsonl")) as file:
    asked = _Asked(args.model, args.max_tokens, file)
    ended = _ask(missing, asked, settings)
    made = {label: asked.feature(label) for label in missing}
    _write(path, known, made)
    return _status(made, asked, ended, args)


@dataclasses.dataclass(frozen=True)
class _Asked:
  """Replies about labels, by the way in which they were asked for."""

  model: str
  max_tokens: int
  file: KeptFile

  def key(self, label: str) -> str:
    """Names what is asked."""
    messages = features.messages(label)
    return kept.digest(self.model, self.max_tokens, messages)

  def said(self, label: str) -> str | None:
    """The reply."""
    line = self.file.line(self.key(label))
    return line and line["said"]

  def feature(self, label: str) -> str | None:
    """The feature; None without a reply, or in one that has none or is cut."""
    line = self.file.line(self.key(label))
    if line is None or line.get("finish") == "length":
      return None
    return features.read(line["said"], label)


def _ask(
  labels: Sequence[str], asked: _Asked, settings: asking.Settings
) -> asking.Ended:
  """Asks about labels without a reply."""
  new = [label for label in labels if asked.key(label) not in asked.file]
  if not new:
    return asking.Ended()
  estimate = cost.estimate(map(features.messages, new), asked.max_tokens)
  _tell(estimate.line(settings.prices))
  client = settings.client()
  chat = Chat(client, asked.model, asked.max_tokens)
  work = asking.Work(
    "features",
    ((asked.key(label), label) for label in new),
    len(labels),
    len(labels) - len(new),
    ask=lambda label: chat.ask(features.messages(label)),
    keep=lambda key, label, said: asked.file.write(
      key,
      {
        "model": asked.model,
        "label": label,
        "said": said.text,
        "finish": said.finish,
        "tokens": said.tokens,
        "options": said.options,
      },
    ),
    most=lambda label: (
      cost.messages_tokens(features.messages(label)),
      asked.max_tokens,
    ),
    spent=settings.prices.cost(asked.file.tokens) if settings.prices else 0.0,
  )
  try:
    return asking.ask_all(work, settings, _tell)
  finally:
    client.close()


def _labels(path: pathlib.Path) -> list[str]:
  """The labels of a file, each once."""
  try:
    text = path.read_text("utf-8-sig")
  except OSError as error:
    raise AqaError(f"{path}: cannot be read: {error.strerror}.") from error
  except UnicodeDecodeError as error:
    raise AqaError(f"{path}: is no UTF-8; save it so.") from error
  lines = [line.strip() for line in text.split("\n")]
  for number, line in enumerate(lines, 1):
    if "\t" in line:
      raise AqaError(
        f"{path}, line {number}: a tab is in the label; give a label a line."
      )
  labels = list(dict.fromkeys(line for line in lines if line))
  if not labels:
    raise AqaError(f"{path}: has no label; give a label a line.")
  return labels


def _known(path: pathlib.Path) -> set[str]:
  """The labels that the table has."""
  if not path.exists() or not path.stat().st_size:
    return set()
  known = set()
  for row in tables.read_csv(path, _COLUMNS, tabs=True):
    if tuple(row.values) != _COLUMNS:
      raise AqaError(
        f"{path}: has the columns {', '.join(row.values)}; rows are added only "
        f"to a table that has {' and '.join(_COLUMNS)}."
      )
    known.add(row.text(_COLUMNS[0]))
  return known


def _write(
  path: pathlib.Path, known: set[str], made: Mapping[str, str | None]
) -> None:
  """Adds rows to the table, and leaves those that it has."""
  rows = [f"{label}\t{text}\n" for label, text in made.items() if text]
  if known and not rows:
    return
  part = path.with_name(f"{path.name}.part")
  try:
    before = path.read_bytes() if path.exists() else b""
    before = before or "\t".join(_COLUMNS).encode() + b"\n"
    if not before.endswith(b"\n"):
      before += b"\n"
    part.write_bytes(before + "".join(rows).encode())
    os.replace(part, path)
  except OSError as error:
    raise AqaError(f"{path}: cannot be written: {error.strerror}.") from error


def _status(
  made: Mapping[str, str | None],
  asked: _Asked,
  ended: asking.Ended,
  args: argparse.Namespace,
) -> int:
  """Tells what is missing; returns the exit status."""
  if ended.spent:
    _tell(f"all replies about labels have cost {ended.spent:.4g}.")
  added = sum(feature is not None for feature in made.values())
  _tell(f"{args.out}: {added} rows added.")
  if ended.is_held:
    _tell(f"stopped, as the next reply might cost over {args.max_cost:g}.")
  for label, feature in made.items():
    if feature is None:
      said = asked.said(label)
      why = ended.failed.get(asked.key(label), "not asked")
      if said is not None:
        why = f"no short phrase: {json.dumps(said, ensure_ascii=False)[:120]}"
      _tell(f"{label}: {why}")
  if added == len(made):
    return 0
  _tell(
    f"{len(made) - added} labels have no feature: add rows by hand, or ask "
    "another --model."
  )
  return _MISSING


def _tell(line: str) -> None:
  """Tells on the terminal."""
  print(f"features: {line}", file=sys.stderr, flush=True)
