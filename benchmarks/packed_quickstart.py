r"""The quick start with one question a row, and packed.

  python -m benchmarks.packed_quickstart --folder=runs/packed \
    --out=docs/packed_curves.png

Trains three times from the same seed with the same tokenizer: unpacked; packed
at equal questions, on rows of up to --questions, as many rows a step as hold a
step's questions on the average, and as many steps as take the same questions;
and packed with twice as many rows a step, which takes about the unpacked run's
time. Rates and hand-offs are the same. Draws loss against questions, and prints
the losses at the ends of the stages, held-out accuracy, and the CPU time.
Started again it goes on, and what is finished is only drawn again. --scale=0.01
tries the script.
"""

import argparse
import json
import os
import pathlib
import time

import ml_collections
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from configs import quickstart
from ltu_jax import config as config_lib
from ltu_jax import supply, train
from ltu_jax.evaluate.curves import smooth
from ltu_jax.workdir import Workdir

_COLORS = {
  "unpacked": "#1f5a96",
  "packed": "#b3541e",
  "packed_twice": "#3f8f4f",
}
_TIMES = {"packed": 1, "packed_twice": 2}
"""Questions of a step and of the run, of those of the unpacked one."""


def unpacked(args: argparse.Namespace) -> ml_collections.ConfigDict:
  """The quick start, or a share of its steps."""
  config = quickstart.get_config()
  config.data.dir = args.data_dir
  for stage in config.stages.values():
    stage.steps = max(2, round(stage.steps * args.scale))
    stage.warmup_steps = min(stage.warmup_steps, stage.steps)
  if args.scale < 1:
    config.eval.update(stage_items=4, final_items=4)
  return config


def packed(
  args: argparse.Namespace, tokenizer: pathlib.Path, times: int
) -> tuple[ml_collections.ConfigDict, list[str]]:
  """So many times the questions, packed; and what became of each stage."""
  config = unpacked(args)
  batch = config.data.batch_size * times
  config.tokenizer.model = str(tokenizer)
  config.data.questions_per_row = args.questions
  config.data.row_tokens = args.row_tokens
  data = supply.open_supply(config)
  folder = Workdir(args.folder / "lengths")
  folder.root.mkdir(parents=True, exist_ok=True)
  data.measure(folder, data.tokenizer(folder))
  stages = config_lib.stages(config)
  questions = [data.questions(stage).num_rows for stage in stages]
  means = [
    count / data.size(stage)[0]
    for count, stage in zip(questions, stages, strict=True)
  ]
  # One number for all stages, so that their steps are about as large.
  config.data.batch_size = max(1, round(batch / np.mean(means)))
  told = []
  for stage, mean in zip(stages, means, strict=True):
    name, each = f"stage{stage.number}", mean * config.data.batch_size
    fields = config.stages[name]
    fields.steps = max(2, round(stage.steps * batch / each))
    fields.warmup_steps = min(
      round(stage.warmup_steps * batch / each), fields.steps
    )
    told.append(
      f"{name}: {mean:.2f} questions a row, {each:.1f} a step,"
      f" {fields.steps} steps for {stage.steps}"
    )
  return config, told


def curve(
  workdir: pathlib.Path, times: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Stage, questions so far by `times`, and loss of each step."""
  lines = [json.loads(x) for x in (workdir / "metrics.jsonl").open()]
  column = lambda name: np.array([line[name] for line in lines], np.float64)
  questions = np.cumsum(column("questions")) / times
  return column("stage"), questions, column("loss")


def draw(args: argparse.Namespace) -> None:
  """Draws all losses, smoothed within each stage, against questions."""
  figure = Figure(figsize=(11, 5), dpi=120, layout="constrained")
  canvas, axes = FigureCanvasAgg(figure), figure.subplots()
  for kind, color in _COLORS.items():
    stages, questions, loss = curve(args.folder / kind, _TIMES.get(kind, 1))
    for stage in np.unique(stages):
      here = stages == stage
      label = kind.replace("_", ", ") if stage == stages[0] else None
      smoothed = smooth(loss[here])
      axes.plot(questions[here], smoothed, color=color, lw=1.5, label=label)
      if kind == "unpacked":
        axes.axvline(questions[here][-1], color="#999999", lw=0.8, ls="--")
        name = f"stage {stage:.0f}"
        where = axes.get_xaxis_transform()
        axes.text(questions[here].mean(), 1.01, name, transform=where, size=8)
  axes.set_yscale("log")
  axes.set_xlabel("questions; of packed, twice, half of their number")
  axes.set_ylabel("loss (nats per token), running mean")
  axes.legend()
  axes.grid(axis="y", which="both", color="#e6e6e6", lw=0.6)
  axes.spines[["top", "right"]].set_visible(False)
  canvas.print_png(os.fspath(args.out))


def report(args: argparse.Namespace) -> None:
  """Prints the numbers at the ends, side by side."""
  found = {
    kind: json.loads((args.folder / kind / "report.json").read_text())
    for kind in _COLORS
  }
  print(
    "| | " + " | ".join(found) + " |\n| ---" + " | ---:" * len(found) + " |"
  )
  for each in zip(*(one["stages"] for one in found.values()), strict=True):
    cells = " | ".join(f"{one['mean_loss_last_tenth']:.3f}" for one in each)
    print(f"| loss, last tenth of stage {each[0]['stage']} | {cells} |")
  for name, of_one in found["unpacked"]["held_out"].items():
    if isinstance(of_one, dict) and of_one.get("count"):
      each = (one["held_out"][name] for one in found.values())
      cells = " | ".join(f"{one['hits'] / one['count']:.3f}" for one in each)
      print(f"| held out, {name} | {cells} |")


def main() -> None:
  """Runs all, draws, reports."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--folder", required=True, type=pathlib.Path)
  parser.add_argument("--out", default="packed_curves.png", type=pathlib.Path)
  parser.add_argument("--data_dir", default="", help="TFDS's folder")
  parser.add_argument("--questions", type=int, default=4)
  parser.add_argument("--row_tokens", type=int, default=160)
  parser.add_argument("--scale", type=float, default=1.0, help="of the steps")
  args = parser.parse_args()
  seconds = {}
  for kind in _COLORS:
    workdir, told = args.folder / kind, []
    config = unpacked(args)
    if kind in _TIMES:
      tokenizer = args.folder / "unpacked/tokenizer.model"
      config, told = packed(args, tokenizer, _TIMES[kind])
    print("\n".join(told), flush=True)
    start = time.process_time()
    train.run(config, str(workdir))
    seconds[kind] = time.process_time() - start
  draw(args)
  report(args)
  told = ", ".join(f"{kind} {value:.0f}" for kind, value in seconds.items())
  print(f"CPU seconds of this start: {told}; curves in {args.out}")


if __name__ == "__main__":
  main()
