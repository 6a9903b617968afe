"""python -m ltu_jax.goodput WORKDIR: how much of the time was training.

Goodput is the time of steps that count over all the time since the run was
first started, down time between its starts included. It is read from
WORKDIR/times, which every start adds to (times.py); --json for numbers, and
--plot=FILE.png for where the time went, over time.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ltu_jax import bucket_scratch, json_text, times, version
from ltu_jax.bucket_store import BucketError
from ltu_jax.evaluate import markdown
from ltu_jax.metrics import duration

NAMES = {
  "steps": "steps",
  "redone": "redone",
  "data": "data",
  "compile": "compile",
  "startup": "start-up",
  "save": "saving",
  "evaluate": "evaluation",
  "profile": "profile",
  "down": "down",
}
"""Kind of time -> its heading. Two are none of times.KINDS: `redone` is steps
that a later start made again, from an earlier checkpoint; `down` is between the
last line of a start and the next start."""


class GoodputError(ValueError):
  """A folder whose times cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class Span:
  """Some time, and what it was spent on.

  Attributes:
    begin: Unix time.
    end: Unix time.
    stage: Number of the stage; None for what belongs to none.
    seconds: Kind (of NAMES) -> seconds; they sum up to end - begin.
  """

  begin: float
  end: float
  stage: int | None
  seconds: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Goodput:
  """Where the time of a run went.

  Attributes:
    spans: All of it, in order.
    starts: How often the run was started.
  """

  spans: tuple[Span, ...]
  starts: int

  @property
  def wall(self) -> float:
    """Seconds from the first start to the last line."""
    return self.spans[-1].end - self.spans[0].begin

  @property
  def share(self) -> float:
    """Time of the steps that count, of all."""
    return self.total()["steps"] / self.wall

  def total(self, stage: int | str | None = "all") -> Counter[str]:
    """Seconds of each kind, of one stage (None: of none) or of all."""
    found: Counter[str] = Counter()
    for span in self.spans:
      if stage in ("all", span.stage):
        found.update(span.seconds)
    return found

  def stages(self) -> list[int | None]:
    """The stages that have spans; None first."""
    return sorted(
      {span.stage for span in self.spans},
      key=lambda stage: -1 if stage is None else stage,
    )

  def as_json(self) -> dict[str, Any]:
    """All numbers."""
    of = lambda stage: {k: round(self.total(stage)[k], 3) for k in NAMES}
    return {
      "goodput": self.share,
      "starts": self.starts,
      "begin": self.spans[0].begin,
      "end": self.spans[-1].end,
      "wall_seconds": round(self.wall, 3),
      "seconds": of("all"),
      "stages": [{"stage": s, "seconds": of(s)} for s in self.stages()],
    }

  def text(self) -> str:
    """A table, a line for each stage, and the share."""
    totals = [(_name(s), self.total(s)) for s in self.stages()]
    totals.append(("all", self.total()))
    kinds = [kind for kind in NAMES if totals[-1][1][kind]]
    rows = [
      (name, *(_seconds(t[k]) for k in kinds), _seconds(sum(t.values())))
      for name, t in totals
    ]
    shares = [f"{100 * totals[-1][1][k] / self.wall:.1f} %" for k in kinds]
    rows.append(("share", *shares, ""))
    head = ("", *(NAMES[kind] for kind in kinds), "wall")
    starts = "1 start" if self.starts == 1 else f"{self.starts} starts"
    return (
      f"goodput {100 * self.share:.1f} %: steps that count took"
      f" {_seconds(totals[-1][1]['steps'])} of {_seconds(self.wall)} since"
      f" {_date(self.spans[0].begin)}, {starts}\n\n"
      + markdown.table(head, rows)
    )


def read(root: str | os.PathLike) -> Goodput:
  """Reads the times of a run.

  Args:
    root: The run's folder, of this machine or in a bucket.

  Raises:
    BucketError: The bucket cannot be read.
    GoodputError: It is no run's, has no times yet, or a line is none of ours.
  """
  root = bucket_scratch.fetched(root, times.FOLDER)
  if not (root / "config.json").is_file():
    raise GoodputError(f"{root}: no run was started in this folder.")
  files = (root / times.FOLDER).glob("*.jsonl")
  starts = sorted(filter(None, map(_lines, files)), key=lambda x: x[0]["time"])
  if not starts:
    raise GoodputError(
      f"{root}: this run kept no times, as it was made by an older version;"
      f" what is started now keeps them in {root / times.FOLDER}."
    )
  spans: list[Span] = []
  for number, lines in enumerate(starts):
    if spans:
      # Where the clocks of two hosts differ, no time lies between.
      begin, end = spans[-1].end, max(lines[0]["time"], spans[-1].end)
      spans.append(Span(begin, end, spans[-1].stage, {"down": end - begin}))
    done = _gone_on_from(starts[number + 1 :])
    for before, line in itertools.pairwise(lines):
      spans.append(_span(before, line, done.get(line["stage"])))
  if not spans or spans[-1].end <= spans[0].begin:
    raise GoodputError(f"{root}: this run has just started; ask again later.")
  return Goodput(tuple(spans), len(starts))


def _gone_on_from(later: Sequence[list[dict]]) -> dict[int | None, int]:
  """Stage -> the fewest of its steps that a later start began with."""
  fewest: dict[int | None, int] = {}
  for lines in later:
    first: dict[int | None, int] = {}
    for line in lines:
      first.setdefault(line["stage"], line["step"])
    for stage, step in first.items():
      fewest[stage] = min(step, fewest.get(stage, step))
  return fewest


def _span(before: dict, line: dict, kept: int | None) -> Span:
  """The time that a line tells of.

  Args:
    before: The line before.
    line: The line.
    kept: Steps of its stage that a later start did not make again; None: all.
  """
  same = before["stage"] == line["stage"]
  first = before["step"] if same else line["step"]
  seconds = Counter(line["seconds"])
  if kept is not None and line["step"] > kept:
    lost = line["step"] - max(kept, first)
    share = lost / (line["step"] - first) if line["step"] > first else 1.0
    seconds["redone"] = share * seconds["steps"]
    seconds["steps"] -= seconds["redone"]
  # The rest is rounding.
  seconds["startup"] += line["time"] - before["time"] - sum(seconds.values())
  return Span(before["time"], line["time"], line["stage"], dict(seconds))


def _lines(path: pathlib.Path) -> list[dict]:
  """The whole lines of a file; a killed run may have left a part of its last.

  Raises:
    GoodputError: One that `Times` does not write.
  """
  found = []
  for number, text in enumerate(path.read_bytes().splitlines(keepends=True), 1):
    if not text.endswith(b"\n"):
      break
    try:
      found.append(_checked(json_text.parse(text)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise GoodputError(
        f"{path}: line {number} is no line of times ({error})."
      ) from error
  return found


def _checked(line: Any) -> dict:
  """A line; raises what such code raises for what is none."""
  stage, step = line["stage"], line["step"]
  numbers = [line["time"], *line["seconds"].values()]
  if not all(type(x) in (int, float) and abs(x) < 1e12 for x in numbers):
    raise ValueError("a time is no number")
  if type(step) is not int or not (stage is None or type(stage) is int):
    raise ValueError("stage or step is no number")
  if unknown := line["seconds"].keys() - set(times.KINDS):
    raise ValueError(f"unknown kinds {sorted(unknown)}")
  return line


def _name(stage: int | None) -> str:
  return "before any" if stage is None else f"stage {stage}"


def _seconds(seconds: float) -> str:
  """Seconds in words, with a tenth where they are few."""
  return f"{max(0.0, seconds):.1f}s" if seconds < 60 else duration(seconds)


def _date(time: float) -> str:
  moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
  return moment.strftime("%Y-%m-%d %H:%M UTC")


def main(argv: Sequence[str] | None = None) -> int:
  """Prints what the flags ask for; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.goodput",
    description="How much of a run's wall time was training that counts.",
  )
  version.add(parser)
  parser.add_argument("workdir", help="folder of the run")
  parser.add_argument("--json", action="store_true", help="print JSON")
  parser.add_argument("--plot", metavar="FILE", help="a PNG to draw")
  args = parser.parse_args(argv)
  try:
    found = read(args.workdir)
    if args.plot:
      from ltu_jax import goodput_plot  # matplotlib takes a second

      goodput_plot.draw(found, args.plot)
  except (BucketError, GoodputError, OSError) as error:
    print(f"error: {bucket_scratch.shown(error)}", file=sys.stderr)
    return 2
  print(json.dumps(found.as_json(), indent=2) if args.json else found.text())
  return 0


if __name__ == "__main__":
  sys.exit(main())
