"""SmolLM2 behind the server of transformers; no test."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

import transformers

import smollm2

_ENVIRONMENT = os.environ | {
  "OMP_NUM_THREADS": "1",
  "HF_HUB_OFFLINE": "1",
  "HF_HUB_DISABLE_UPDATE_CHECK": "1",
}


@dataclasses.dataclass(frozen=True)
class Served:
  """Attributes: folder of the model, which is its name; url of the API."""

  folder: pathlib.Path
  url: str


@contextlib.contextmanager
def serving(folder: pathlib.Path):
  """Runs the server; writes the model to an empty folder, which it removes."""
  _write(folder)
  command = [sys.executable, "-m", "transformers.cli.transformers", "serve"]
  command += [str(folder), "--host=127.0.0.1", "--port=0", "--device=cpu"]
  log = folder / "server.log"
  with log.open("wb") as file:
    process = subprocess.Popen(
      [*command, "--dtype=float32", "--log-level=info"],
      stdout=file,
      stderr=subprocess.STDOUT,
      env=_ENVIRONMENT,
    )
  try:
    yield Served(folder, f"{_address(log, process)}/v1")
  finally:
    process.terminate()
    process.wait(30)
    shutil.rmtree(folder)


def _write(folder):
  """As transformers has it; its server reads no GGUF without a hub."""
  file = smollm2.gguf_file()
  source = {"gguf_file": file.name}
  model = transformers.AutoModelForCausalLM.from_pretrained(
    file.parent, dtype="float32", **source
  )
  # The weights are no longer quantised, but it would not write them.
  model.hf_quantizer = None
  del model.config.quantization_config
  model.save_pretrained(folder)
  tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **source)
  tokenizer.save_pretrained(folder)


def _address(log, process):
  """Where it listens, when it does."""
  for _ in range(1200):
    if found := re.search(r"running on (http://[\d.:]+)", log.read_text()):
      return found[1]
    try:
      process.wait(0.1)
    except subprocess.TimeoutExpired:
      continue
    break
  raise AssertionError(log.read_text())
