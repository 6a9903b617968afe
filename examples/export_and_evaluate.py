r"""Exports a run as a bundle, and looks at what rounding it to integers costs.

  python -m examples.export_and_evaluate --workdir=runs/quickstart \
    --out=bundles/quickstart

A bundle is one folder, which answers and is evaluated without the run or its
data. It is asked about openaqa/mini's held-out clips as it is and with the
decoder's matrices in 8 and in 4 bits; a page shows the three side by side.
"""

import argparse
import json
import pathlib
import sys

from ltu_jax.convert import __main__ as convert
from ltu_jax.evaluate import __main__ as evaluate

ROUNDED = {"as_trained": "", "int8": "int8", "int4": "int4"}
"""Name of each evaluation -> --base_dtype."""


def main() -> int:
  """Exports, evaluates, compares; returns the exit status."""
  args = _parse()
  if not args.out.exists():
    export = ["export", f"--workdir={args.workdir}", "--format=bundle"]
    if status := convert.main([*export, f"--out={args.out}"]):
      return status
  size = sum(file.stat().st_size for file in args.out.iterdir())
  print(f"{args.out}: {size / 1e6:.1f} MB")

  folders = [args.out / "evaluations" / name for name in ROUNDED]
  for folder, dtype in zip(folders, ROUNDED.values(), strict=True):
    command = [f"--bundle={args.out}", f"--name={folder.name}"]
    command += [f"--out={folder}", "--sets=mini", "--protocols=constrained"]
    command += [f"--data_dir={data_dir(args.workdir)}"]
    if dtype:
      command.append(f"--base_dtype={dtype}")
    if status := evaluate.main(command):
      return status
  page = [f"--out={args.out / 'report'}", "--allow=settings"]
  return evaluate.main(["report", *map(str, folders), *page])


def data_dir(workdir: pathlib.Path) -> str:
  """Returns TFDS's folder of the run; "" for TFDS's default."""
  return json.loads((workdir / "config.json").read_text())["data"]["dir"]


def _parse() -> argparse.Namespace:
  """Reads the arguments."""
  parser = argparse.ArgumentParser(
    prog="python -m examples.export_and_evaluate",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add("--workdir", type=pathlib.Path, required=True, help="a trained run")
  add("--out", type=pathlib.Path, required=True, help="the bundle's folder")
  return parser.parse_args()


if __name__ == "__main__":
  sys.exit(main())
