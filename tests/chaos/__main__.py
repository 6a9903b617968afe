"""python -m tests.chaos --stories=200: plays stories, prints the table.

Needs the extra `test`. Every story starts real training processes and breaks
them; SEED and faults of those that lost something are printed, and
--only=SEED plays one again.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import sys
import tempfile
import time

from tests import xla_flags

sys.path[:0] = [str(p) for p in (pathlib.Path(__file__).parents[1],)]
sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / "openaqa")]


def main() -> int:
  """Plays; returns 1 if anything was lost."""
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ["XLA_FLAGS"] = xla_flags.quick(8)
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--stories", type=int, default=20)
  parser.add_argument("--first", type=int, default=0, help="seed of the first")
  parser.add_argument("--only", type=int, help="the one seed to play")
  parser.add_argument("--jobs", type=int, default=2, help="stories at a time")
  args = parser.parse_args()
  seeds = range(args.first, args.first + args.stories)
  if args.only is not None:
    seeds = [args.only]
  start = time.monotonic()
  with tempfile.TemporaryDirectory() as scratch:
    told = play_all(seeds, pathlib.Path(scratch), args.jobs)
  print(table(told))
  print(f"{len(told)} stories in {time.monotonic() - start:.0f} s")
  return int(any(story.lost for story in told))


def play_all(seeds, scratch, jobs=2, say=print, most=3):
  """Plays stories, some at a time; returns what is told of each."""
  from tests.chaos import data, story

  cache = scratch / "cache"
  records = data.prepare(scratch, cache)
  damaged = data.damage(records)
  goals = [
    story.undisturbed(scratch / f"goal{number}", cache, source)
    for number, source in enumerate((None, records, damaged))
  ]
  # Most on made-up data, which starts faster.
  goal = lambda seed: goals[{3: 1, 4: 2}.get(seed % 5, 0)]
  told = []
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    played = [
      pool.submit(story.play, seed, goal(seed), scratch, cache, most)
      for seed in seeds
    ]
    for future in concurrent.futures.as_completed(played):
      told.append(future.result())
      one = told[-1]
      say(
        f"{len(told)}/{len(played)}  story {one.seed}: "
        f"{', '.join(one.faults)}: {'LOST' if one.lost else 'survived'} after"
        f" {one.starts} starts",
        flush=True,
      )
      if one.lost:
        say(one.lost, flush=True)
  return sorted(told, key=lambda one: one.seed)


def table(told) -> str:
  """Faults by kind, in Markdown: injected, survived, lost."""
  injected, lost = collections.Counter(), collections.Counter()
  for one in told:
    injected.update(one.faults)
    if one.lost:
      lost.update(one.faults)
  lines = [
    "| fault | injected | survived | lost |",
    "| --- | --: | --: | --: |",
  ]
  for name, count in sorted(injected.items()):
    words = name.replace("_", " ")
    lines.append(f"| {words} | {count} | {count - lost[name]} | {lost[name]} |")
  total = sum(injected.values()), sum(lost.values())
  lines.append(f"| all | {total[0]} | {total[0] - total[1]} | {total[1]} |")
  return "\n".join(lines)


if __name__ == "__main__":
  sys.exit(main())
