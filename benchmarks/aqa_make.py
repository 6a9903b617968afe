r"""Closed-ended questions of generated records: questions/s and memory.

    python -m benchmarks.aqa_make --clips=20000 200000 --processes=1 2

Records are as AudioSet's: half have labels alone, half have times, features and
a caption. A process of its own reads them as JSON lines, makes the questions by
the command `make` and writes them; two million need 4 GB of disk, for a while.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

from ltu_jax.aqa import record_lines
from ltu_jax.aqa.records import ClipRecord, Event, Span
from ltu_jax.evaluate import markdown
from ltu_jax.evaluate.sets import label_list

_FEATURES = ("Deep and resonant", "High-pitched", "Harsh, loud and grating")
_CAPTION = "A man speaks while a vehicle passes and a dog barks twice."


def write_records(path: pathlib.Path, clips: int) -> None:
  """Writes records of clips as JSON lines."""
  labels = label_list.read("audioset").labels
  rng = random.Random(0)
  with path.open("w") as file:
    for number in range(clips):
      record = _record(f"{number:011x}", labels, rng)
      file.write(record_lines.write(record) + "\n")


def _record(
  name: str, labels: tuple[str, ...], rng: random.Random
) -> ClipRecord:
  """Makes a record up."""
  chosen = rng.sample(labels, rng.choice((1, 2, 2, 3, 4)))
  if rng.random() < 0.5:
    return ClipRecord(name, "as_500k", tuple(map(Event, chosen)))
  events = []
  for label in chosen:
    times = sorted(round(rng.uniform(0, 10), 3) for _ in range(4))
    spans = (Span(*times[:2]), Span(*times[2:]))
    events.append(Event(label, rng.choice(_FEATURES), spans))
  events.sort(key=lambda event: event.onset)
  return ClipRecord(name, "as_strong_train", tuple(events), (_CAPTION,))


def measure(folder: pathlib.Path, clips: int, processes: int) -> list[str]:
  """Runs the command in processes of its own; returns a row of the table."""
  out = folder / f"out{clips}-{processes}"
  command = [
    *(sys.executable, "-m", "benchmarks.aqa_make", "--inside"),
    *("make", f"--source=jsonl:{folder / f'{clips}.jsonl'}"),
    *("--keep_missing", f"--out={out}", f"--processes={processes}"),
  ]
  start = time.monotonic()
  done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
  seconds = time.monotonic() - start
  used = json.loads(done.stdout)
  made = json.loads((out / "composition.json").read_text())
  size = sum(path.stat().st_size for path in out.iterdir())
  for path in out.iterdir():
    path.unlink()
  return [
    f"{clips:,}",
    f"{processes}",
    f"{made['questions']:,}",
    f"{seconds:.1f}",
    f"{made['questions'] / seconds:,.0f}",
    f"{1e6 * used['cpu'] / clips:.0f}",
    f"{used['own'] / 1e3:.0f}",
    f"{used['others'] / 1e3:.0f}",
    f"{size / 1e9:.2f}",
  ]


def inside(argv: list[str]) -> None:
  """Runs the command, and prints what this process and its workers used."""
  from ltu_jax.aqa.__main__ import main as command

  status = command(argv)
  own, others = (
    resource.getrusage(who)
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  )
  cpu = sum(x.ru_utime + x.ru_stime for x in (own, others))
  used = {"cpu": cpu, "own": own.ru_maxrss, "others": others.ru_maxrss}
  print(json.dumps(used))
  sys.exit(status)


def main() -> None:
  """Writes records, and measures with each number of processes."""
  if "--inside" in sys.argv[1:2]:
    inside(sys.argv[2:])
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--clips", type=int, nargs="+", default=[20_000, 200_000])
  add("--processes", type=int, nargs="+", default=[1, os.cpu_count()])
  add("--folder", help="of the files; default: a temporary one")
  args = parser.parse_args()
  head = ["clips", "processes", "questions", "s", "questions/s"]
  head += ["CPU us a clip", "MB", "MB of the largest worker", "GB written"]
  rows = []
  with tempfile.TemporaryDirectory(dir=args.folder) as folder:
    folder = pathlib.Path(folder)
    for clips in args.clips:
      write_records(folder / f"{clips}.jsonl", clips)
      for processes in args.processes:
        rows.append(measure(folder, clips, processes))
      (folder / f"{clips}.jsonl").unlink()
  print(markdown.table(head, rows))


if __name__ == "__main__":
  main()
