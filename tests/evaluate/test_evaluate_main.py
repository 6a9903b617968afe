"""The command line of the evaluation, on a data set of generated sounds."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

import golden_data
import made_up_sounds
import xla_flags
from ltu_jax import bundle as bundle_lib
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.data import prepare
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.evaluate import __main__ as evaluate_main
from ltu_jax.evaluate import held_out, result
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

MINI = ("--sets=mini,mini_order", "--protocols=constrained")


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
  """The same questions, asked in another way."""
  _, test_set = prepare.open_splits(data)
  settings = held_out.Settings(500, 32, 48)
  return held_out.evaluate(model, TOKENIZER, test_set, settings)


def number(found, protocol):
  """The metric of a protocol."""
  (metric,) = [m for m in found["metrics"] if m["protocol"] == protocol]
  return metric


def test_a_bundle_without_tensorflow(bundle, data, wanted):
  code = """
import sys
from ltu_jax.evaluate import __main__
status = __main__.main(sys.argv[1:])
assert "tensorflow" not in sys.modules
sys.exit(status)
"""
  args = [f"--bundle={bundle}", f"--data_dir={data['dir']}", *MINI]
  done = subprocess.run(
    [sys.executable, "-c", code, *args, "--controls=silent", "--json"],
    env=os.environ | {"XLA_FLAGS": xla_flags.quick()},
    capture_output=True,
    text=True,
    check=True,
  )
  labels, order = json.loads(done.stdout)
  assert (labels["set"], order["set"]) == ("mini", "mini_order")
  exact = number(labels, "exact")
  assert exact["headline"] and exact["count"] == wanted.labels.count > 0
  assert exact["value"] == wanted.labels.accuracy
  assert exact["chance"] == wanted.labels_chance
  silent = number(labels, "exact, without audio")
  assert silent["value"] == wanted.labels_no_audio.accuracy
  assert number(labels, "constrained")["count"] == wanted.labels.count
  assert number(order, "exact")["value"] == wanted.order.accuracy
  assert number(order, "exact")["chance"] == wanted.order_chance
  # The folder of the sounds is of the machine that trained.
  assert "with other num_test, num_train, sounds_dir: it may" in done.stderr


@dataclasses.dataclass
class Trained:
  """What load_model gives, as far as it is used."""

  model: object
  tokenizer: object
  config: dict
  stage: None = None


@pytest.fixture
def trained(monkeypatch, model, data):
  """A run that is not on disk; what its loading was asked."""
  given = []

  def load_model(*args, **kwargs):
    given.append((*args, kwargs))
    return Trained(model, TOKENIZER, {"data": data | {"batch_size": 7}})

  monkeypatch.setattr(bundle_lib, "load_model", load_model)
  return given


def test_a_run_is_asked_about_its_own_data(trained, wanted, tmp_path, capsys):
  run = tmp_path / "run"
  args = [
    f"--workdir={run}",
    *MINI,
    "--compile_cache=none",
    "--base_dtype=int8",
  ]
  assert evaluate_main.main(args) == 0
  out, err = capsys.readouterr()
  ((workdir, bundle, options),) = trained
  assert (workdir, bundle) == (str(run), None)
  assert options["base_dtype"] == "int8" and "warning" not in err
  rows = [line.split("|") for line in out.splitlines() if "|" in line]
  assert [cell.strip() for cell in rows[0][1:4]] == ["set", "measure", "%"]
  assert int(rows[2][5]) == wanted.labels.count
  found = result.read(run / "evaluation/mini.json")
  assert found.config["data"]["batch_size"] == 7
  assert found.settings["decode"]["temperature"] == 0
  assert found.model["name"] == "run" and len(found.model["weights"]) == 16
  items = result.read_items(run / "evaluation/mini.json")
  assert len(items) == wanted.labels.count
  assert all(item.answers and "exact" in item.said for item in items)


def test_a_second_start_asks_nothing(trained, tmp_path, capsys, monkeypatch):
  args = [f"--workdir={tmp_path}", *MINI, "--compile_cache=none", "--json"]
  assert evaluate_main.main(args) == 0
  first = json.loads(capsys.readouterr().out)

  def ask(*_):
    raise AssertionError("asked again")

  monkeypatch.setattr("ltu_jax.ask.asking.read_clip", ask)
  assert evaluate_main.main(args) == 0
  again = json.loads(capsys.readouterr().out)
  for a, b in zip(first, again, strict=True):
    assert a["metrics"] == b["metrics"] and a["classes"] == b["classes"]
  monkeypatch.undo()


def test_other_settings_are_refused_until_all_is_asked_anew(
  trained, tmp_path, capsys
):
  args = [f"--workdir={tmp_path}", "--sets=mini_order", "--compile_cache=none"]
  assert evaluate_main.main(args) == 0
  capsys.readouterr()
  assert evaluate_main.main([*args, "--max_new_tokens=3"]) == 2
  err = capsys.readouterr().err
  assert "decode.max_new_tokens: 48, now 3" in err and "--again" in err
  assert evaluate_main.main([*args, "--max_new_tokens=3", "--again"]) == 0


def test_fewer_items_are_spread(trained, tmp_path, capsys):
  args = [f"--workdir={tmp_path}", "--sets=mini", "--protocols=constrained"]
  args += ["--items=3", "--compile_cache=none", "--json"]
  assert evaluate_main.main(args) == 0
  (found,) = json.loads(capsys.readouterr().out)
  assert found["data"]["items"] == 3 < found["data"]["found"]
  assert number(found, "exact")["count"] == 3


def test_a_run_on_data_without_held_out_clips(
  trained, data, monkeypatch, tmp_path, capsys
):
  train, _ = prepare.open_splits(data)
  monkeypatch.setattr(prepare, "open_splits", lambda data: (train, None))
  capsys.readouterr()
  assert evaluate_main.main([f"--workdir={tmp_path}"]) == 2
  out, err = capsys.readouterr()
  assert out == ""
  assert "evaluate: openaqa/mini has no held-out clips" in err
  assert "ltu_jax.convert export" in err


def test_mistakes_are_told(tmp_path, capsys):
  assert evaluate_main.main([f"--bundle={tmp_path}"]) == 2
  out, err = capsys.readouterr()
  assert out == "" and err.startswith("evaluate: ")
  assert "there is no bundle" in err
  for args, words in (
    (["--sets=esc50"], "needs --data"),
    (["--sets=esc51", f"--data={tmp_path}"], "unknown set 'esc51'"),
    (["--sets=esc50", f"--data={tmp_path}"], "meta/esc50.csv"),
    (["--protocols=guess"], "'guess' is not one of published, labels"),
    (["--controls=loud"], "'loud' is not one of silent, shuffled"),
    (["--seed=-1"], "seed is -1"),
  ):
    assert evaluate_main.main([f"--bundle={tmp_path}", *args]) == 2
    assert words in capsys.readouterr().err
  assert evaluate_main.main(["report", str(tmp_path)]) == 2
  assert str(tmp_path) in capsys.readouterr().err
  for args in ([], ["--workdir=a", "--bundle=b"], ["--bundle=b", "--items=0"]):
    with pytest.raises(SystemExit) as error:
      evaluate_main.main(args)
    assert error.value.code == 2
  with pytest.raises(SystemExit) as error:
    evaluate_main.main(["--help"])
  assert error.value.code == 0
  assert "python -m ltu_jax.evaluate" in capsys.readouterr().out
