r"""Fine-tunes a model on a folder of labelled sounds, and asks about others.

  python -m ltu_jax.convert import --run=runs/quickstart --out=bases/quickstart
  python -m examples.finetune_folder --sounds=sounds --base=bases/quickstart \
    --out=runs/mine --variant=whole

Sounds are SOUNDS/CLASS/CLIP.wav. Every fourth clip of a class is kept back and
asked about. What has been done is not done again: the same command goes on.
"""

import argparse
import collections
import pathlib
import sys

from configs import finetune
from ltu_jax import train
from ltu_jax.answers.answerer import Answerer, Question
from ltu_jax.aqa import __main__ as aqa
from ltu_jax.audio.decode import decode
from ltu_jax.bundle import load_model
from ltu_jax.evaluate import parsing
from ltu_jax.evaluate.score import Score
from ltu_jax.sampling import SamplingConfig

QUESTION = "What can be heard?"

GREEDY = SamplingConfig(
  temperature=0.0, repetition_penalty=1.0, max_new_tokens=32
)
"""The most likely answer; a label is short."""


def main() -> None:
  """Splits, makes questions, trains, asks."""
  args = _parse()
  learn, keep = split(args.sounds)
  questions, data = args.out / "questions", args.out / "data"
  link(learn, args.sounds, args.out / "learn")
  make = ["make", f"--source=folder@mine:{args.out / 'learn'}"]
  if status := aqa.main([*make, f"--out={questions}", f"--tfds={data}"]):
    sys.exit(status)

  config = finetune.get_config(args.variant)
  config.base = str(args.base)
  config.data.dir = str(data)
  config.stages.stage4.update(steps=args.steps, warmup_steps=args.steps // 10)
  train.run(config, str(args.out / "run"))
  ask(args.out / "run", keep)


def split(
  sounds: pathlib.Path,
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
  """Returns the clips to learn from, and every fourth of a class to ask about.

  Args:
    sounds: Folder of a folder for each class.
  """
  learn, keep = [], []
  for folder in sorted(path for path in sounds.iterdir() if path.is_dir()):
    for number, clip in enumerate(sorted(folder.iterdir())):
      (keep if number % 4 == 3 else learn).append(clip)
  return learn, keep


def link(
  clips: list[pathlib.Path], sounds: pathlib.Path, folder: pathlib.Path
) -> None:
  """Makes a folder like `sounds` with links to some of its clips."""
  for clip in clips:
    place = folder / clip.relative_to(sounds)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
      place.symlink_to(clip.absolute())


def ask(workdir: pathlib.Path, clips: list[pathlib.Path]) -> None:
  """Asks about clips, and prints the answers and how many are right.

  Args:
    workdir: The trained run.
    clips: CLASS/CLIP.wav, which it has not heard.
  """
  trained = load_model(workdir)
  answerer = Answerer(trained.model, trained.tokenizer)
  questions = (
    Question(QUESTION, decode(clip), config=GREEDY) for clip in clips
  )
  answers = dict(answerer.answers(questions))
  right = collections.defaultdict(list)
  for number, clip in enumerate(clips):
    label, text = clip.parent.name.replace("_", " "), answers[number].text
    hit = parsing.labels(text) == {parsing.normalise(label)}
    right[label].append(hit)
    print(f"{'right' if hit else 'wrong'}  {clip}: {text}")
  hits = Score.of(hit for label in right.values() for hit in label)
  low, high = hits.interval
  print(f"{hits.hits} of {hits.count} right: {hits.accuracy:.2f}", end=" ")
  print(f"({low:.2f}-{high:.2f}); chance {1 / len(right):.2f}")


def _parse() -> argparse.Namespace:
  """Reads the arguments."""
  parser = argparse.ArgumentParser(
    prog="python -m examples.finetune_folder",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add("--sounds", type=pathlib.Path, required=True, help="CLASS/CLIP.wav")
  add("--base", required=True, help="folder that convert import made")
  add("--out", type=pathlib.Path, required=True, help="folder for all of it")
  add("--steps", type=int, default=300, help="default: %(default)s")
  add(
    "--variant",
    default="",
    choices=finetune.VARIANTS,
    help="whole: of the quickstart's model; join: see configs/finetune.py",
  )
  return parser.parse_args()


if __name__ == "__main__":
  main()
