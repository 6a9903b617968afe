"""The command line of the evaluation, on a data set of generated sounds."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

import golden_data
import made_up_sounds
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.data import prepare
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.evaluate import __main__ as evaluate_main
from ltu_jax.evaluate import held_out
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig
from random_model import published_tensors, random_model

TOKENIZER = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")

CFG = LtuConfig(
  encoder=EncoderConfig(
    dim=16, depth=1, heads=2, patch_mels=64, patch_frames=64, dtype="float32"
  ),
  llama=LlamaConfig(
    vocab=TOKENIZER.vocab_size,
    dim=16,
    mlp_dim=16,
    layers=1,
    heads=2,
    kv_heads=2,
    dtype="float32",
    param_dtype="float32",
  ),
  lora=LoraConfig(rank=0),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """`config.data` of a data set that is built."""
  root = tmp_path_factory.mktemp("sounds")
  made_up_sounds.write_folder(root / "classes")
  data = {
    "name": "openaqa/mini",
    "dir": str(root / "data"),
    "prepare": True,
    "sounds_dir": str(root / "classes"),
    "num_train": 12,
    "num_test": 8,
  }
  prepare.open_splits(data)
  return data


@pytest.fixture(scope="module")
def model():
  return random_model(CFG)


@pytest.fixture(scope="module")
def bundle(model, data, tmp_path_factory):
  folder = tmp_path_factory.mktemp("bundle") / "b"
  training = {"config": {"data": data}}
  tensors = published_tensors(model)
  write_bundle(folder, tensors, CFG, TOKENIZER, None, training)
  return folder


@pytest.fixture(scope="module")
def wanted(model, data):
  """The same evaluation, called directly."""
  _, test_set = prepare.open_splits(data)
  settings = held_out.Settings(3, 32, 48)
  return held_out.evaluate(model, TOKENIZER, test_set, settings)


def test_a_bundle_without_tensorflow(bundle, data, wanted):
  code = """
import sys
from ltu_jax.evaluate import __main__
status = __main__.main(sys.argv[1:])
assert "tensorflow" not in sys.modules
sys.exit(status)
"""
  args = [f"--bundle={bundle}", f"--data_dir={data['dir']}", "--items=3"]
  done = subprocess.run(
    [sys.executable, "-c", code, *args, "--json"],
    env=os.environ | {"XLA_FLAGS": ""},
    capture_output=True,
    text=True,
    check=True,
  )
  found = json.loads(done.stdout)
  assert found == json.loads(json.dumps(wanted.as_json()))
  assert found["labels"]["count"] == 3
  # The folder of the sounds is of the machine that trained.
  assert "with other num_test, num_train, sounds_dir: it may" in done.stderr


@dataclasses.dataclass
class Trained:
  """What load_model gives, as far as it is used."""

  model: object
  tokenizer: object
  config: dict


def test_a_run_is_asked_about_its_own_data(
  data, model, wanted, monkeypatch, capsys
):
  given = []

  def load_model(*args):
    given.append(args)
    return Trained(model, TOKENIZER, {"data": data | {"batch_size": 7}})

  monkeypatch.setattr(evaluate_main, "load_model", load_model)
  assert evaluate_main.main(["--workdir=run", "--items=3"]) == 0
  out, err = capsys.readouterr()
  assert given == [("run", None)] and "warning" not in err
  rows = [line.split("|") for line in out.splitlines() if "|" in line]
  assert rows[0][1].strip() == "question"
  assert [int(row[3]) for row in rows[2:4]] == [
    wanted.labels.count,
    wanted.order.count,
  ]
  assert "Right answers by class" in out


def test_a_run_on_data_without_held_out_clips(data, model, monkeypatch, capsys):
  train, _ = prepare.open_splits(data)
  trained = Trained(model, TOKENIZER, {"data": data})
  monkeypatch.setattr(evaluate_main, "load_model", lambda *args: trained)
  monkeypatch.setattr(prepare, "open_splits", lambda data: (train, None))
  assert evaluate_main.main(["--workdir=run"]) == 2
  out, err = capsys.readouterr()
  assert out.count("evaluate:") == 0
  assert "evaluate: openaqa/mini has no held-out clips" in err
  assert "ltu_jax.convert export" in err


def test_mistakes_are_told(tmp_path, capsys):
  assert evaluate_main.main([f"--bundle={tmp_path}"]) == 2
  out, err = capsys.readouterr()
  assert out == "" and err.startswith("evaluate: ")
  assert "there is no bundle" in err
  for args in ([], ["--workdir=a", "--bundle=b"], ["--bundle=b", "--items=0"]):
    with pytest.raises(SystemExit) as error:
      evaluate_main.main(args)
    assert error.value.code == 2
  with pytest.raises(SystemExit) as error:
    evaluate_main.main(["--help"])
  assert error.value.code == 0
  assert "python -m ltu_jax.evaluate --bundle=" in capsys.readouterr().out
