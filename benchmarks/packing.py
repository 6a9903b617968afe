r"""How full packed rows are, and what a question costs in them.

  python -m benchmarks.packing --data=openaqa/mini --data_dir=DIR \
    --tokenizer=runs/quickstart --model=configs/quickstart.py
  python -m benchmarks.packing --data=openaqa/full --data_dir=OUT \
    --tokenizer=FOLDER --model=configs/stage4.py

Counts and arithmetic alone (ltu_jax/aot/flops.py): no model is run. A line for
each way to lay the questions of the config's last stage into rows, against one
question a row of `max_tokens`. The lengths are kept in --folder.
"""

import argparse
import dataclasses
import pathlib
import runpy
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
import numpy as np

import tfds_builders
from ltu_jax import config as config_lib
from ltu_jax import resume, supply
from ltu_jax.aot import flops, roofline
from ltu_jax.curriculum import Stage
from ltu_jax.data import layout, text_lengths
from ltu_jax.data.question_source import QuestionSource
from ltu_jax.data.tokenizer import load_tokenizer

assert tfds_builders  # Importing it registers the builder.

COLUMNS = (
  "questions a row, at most",
  "widths",
  "rows",
  "questions a row",
  "fill",
  "questions a step, at batch_size",
  "model TFLOPs a question",
  "of unpacked",
  "executed, of unpacked",
)


@dataclasses.dataclass(frozen=True)
class Way:
  """A way to lay questions into rows.

  Attributes:
    questions: of a row, at most.
    widths: T of the batches, the widest last.
  """

  questions: int
  widths: tuple[int, ...]

  def data(self, data: ml_collections.ConfigDict) -> dict[str, Any]:
    """`config.data` for it."""
    row_tokens = self.widths[-1] if self.questions > 1 else 0
    return data.to_dict() | {
      "questions_per_row": self.questions,
      "row_tokens": row_tokens,
      "length_buckets": self.widths[:-1],
    }


def ways(max_tokens: int, text: str) -> list[Way]:
  """Unpacked, and then those of --ways, "8:128,256,512;4:216"; "" for usual."""
  if text:
    asked = [part.split(":") for part in text.split(";")]
    some = [(int(q), tuple(map(int, w.split(",")))) for q, w in asked]
  else:
    times = lambda *parts: tuple(round(max_tokens * x) for x in parts)
    some = [
      (1, times(0.45, 2 / 3, 1)),
      (2, times(2)),
      (4, times(3)),
      (8, times(4)),
      (8, times(6)),
      (8, times(1, 2, 3, 4)),
      (8, times(*[x / 2 for x in range(1, 13)])),
      (16, times(*[x / 2 for x in range(1, 17)])),
    ]
  return [Way(1, (max_tokens,)), *(Way(q, widths) for q, widths in some)]


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a way comes to.

  Attributes:
    rows: of an epoch.
    row_questions: mean of a row.
    fill: text tokens of all tokens of the rows' widths.
    step_questions: mean of a step.
    model: FLOPs of a question, forward and backward.
    executed: the same with what remat repeats.
    seconds: CPU time that the layout took.
  """

  rows: int
  row_questions: float
  fill: float
  step_questions: float
  model: float
  executed: float
  seconds: float


def outcome(
  way: Way,
  config: ml_collections.ConfigDict,
  stage: Stage,
  source: QuestionSource,
  lengths: text_lengths.TextLengths,
) -> Outcome:
  """Lays out an epoch, and counts."""
  max_tokens = config_lib.max_tokens(config, stage)
  data, start = way.data(config.data), time.process_time()
  made = layout.make(source.index, lengths, data, max_tokens, config.seed)
  if made.buckets is None:
    # The rows alone: steps may go over the end of an epoch.
    widths = {made.row_tokens: made.num_rows}
  else:
    steps = [made.buckets[i][1] for i in range(made.buckets.num_steps)]
    widths = dict.fromkeys((step.tokens for step in steps), 0)
    for step in steps:
      widths[step.tokens] += step.rows
  seconds = time.process_time() - start
  count = made.num_questions
  text = text_lengths.tokens(lengths.of(source.index), max_tokens).sum()
  cfg = config_lib.model_config(config)
  trained = roofline.trained(cfg, tuple(stage.trainable))
  per_row = {t: flops.train_row(cfg, t, trained) for t in widths}
  total = lambda kind: sum(
    getattr(per_row[tokens], kind) * rows for tokens, rows in widths.items()
  )
  return Outcome(
    made.num_rows,
    count / made.num_rows,
    float(text / sum(t * n for t, n in widths.items())),
    made.questions_per_step,
    total("model") / count,
    total("executed") / count,
    seconds,
  )


def lines(ways: Sequence[Way], found: Sequence[Outcome]) -> Iterator[str]:
  """The table in Markdown; the first way is what others are compared with."""
  yield f"| {' | '.join(COLUMNS)} |\n{'| ---: ' * len(COLUMNS)}|"
  for way, one in zip(ways, found, strict=True):
    cells = (
      f"{way.questions}",
      ", ".join(map(str, way.widths)),
      f"{one.rows:,}",
      f"{one.row_questions:.2f}",
      f"{one.fill:.2f}",
      f"{one.step_questions:.0f}",
      f"{one.model / 1e12:.3g}",
      f"{one.model / found[0].model:.2f}",
      f"{one.executed / found[0].executed:.2f}",
    )
    yield f"| {' | '.join(cells)} |"


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--data", default="openaqa/mini")
  parser.add_argument("--data_dir", default="", help="TFDS's folder")
  parser.add_argument("--tokenizer", required=True, help="its folder")
  parser.add_argument("--model", default="configs/stage4.py", help="a config")
  parser.add_argument("--variant", default="", help="of it, such as smollm2")
  parser.add_argument("--folder", default="", help="keeps the lengths")
  parser.add_argument("--ways", default="", help='such as "8:128,256;2:216"')
  parser.add_argument(
    "--stretch", type=float, default=1.0, help="as if texts were so much longer"
  )
  args = parser.parse_args()
  folder = pathlib.Path(args.tokenizer)
  tokenizer = load_tokenizer(folder)
  if tokenizer is None:
    parser.error(f"--tokenizer: there is none in {folder}")
  made = runpy.run_path(args.model)["get_config"]
  config = made(args.variant) if args.variant else made()
  stage = config_lib.stages(config)[-1]
  source = QuestionSource.open(args.data, "train", args.data_dir or None)
  with tempfile.TemporaryDirectory() as scratch:
    keep = pathlib.Path(args.folder or scratch)
    keep.mkdir(parents=True, exist_ok=True)
    hash_ = resume.hash_files([*folder.glob("tokenizer*")])
    found = text_lengths.load_or_measure(source, tokenizer, hash_, keep)
  longer = np.minimum(found.lengths * args.stretch, text_lengths.MOST)
  found = text_lengths.TextLengths(source.index, longer.astype(np.uint16))
  part = supply.questions(source, stage)
  max_tokens = config_lib.max_tokens(config, stage)
  tokens = text_lengths.tokens(found.of(part.index), max_tokens)
  per_clip = np.unique(part.index.clip, return_counts=True)[1]
  print(
    f"{args.data}, stage {stage.number}: {part.num_rows} questions about"
    f" {len(per_clip)} clips; tokens of a question {tokens.mean():.1f} (of"
    f" {max_tokens} at most), questions of a clip {per_clip.mean():.1f} (10 %"
    f" have {np.percentile(per_clip, 10):.0f} or fewer, 10 %"
    f" {np.percentile(per_clip, 90):.0f} or more)"
  )
  some = ways(max_tokens, args.ways)
  outcomes = [outcome(way, config, stage, part, found) for way in some]
  for line in lines(some, outcomes):
    print(line)
  print(f"layouts took {sum(o.seconds for o in outcomes):.1f} CPU seconds")


if __name__ == "__main__":
  main()
