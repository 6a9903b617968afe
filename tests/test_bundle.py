"""A bundle is the model that it was written from, bit by bit, on any mesh."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors
import yaml
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import golden_data
import ltu_jax
import xla_flags
from ltu_jax import bundle, curriculum
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.convert.tensors import ConversionError, of_array
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig
from ltu_jax.sharding import make_mesh, path_name, shardings
from ltu_jax.train_state import abstract_params
from random_model import published_tensors, random_model

TOKENIZER = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")

STAGE = curriculum.PUBLISHED[1]

TRAINING = {
  "origin": ["--llama=vicuna", "encoder: drawn from seed 0"],
  "config": {
    "data": {"name": "openaqa/mini"},
    "stages": {"a": {"number": 2, "name": STAGE.name}},
  },
  "steps": {"2": 1400},
  "losses": [
    {"stage": 2, "first_loss": 0.54, "mean_loss_last_tenth": 0.3421},
  ],
}


def model_config(param_dtype="float32", **llama):
  sizes = {"vocab": TOKENIZER.vocab_size, "dim": 32, "mlp_dim": 48}
  sizes |= {"layers": 2, "heads": 4, "kv_heads": 2}
  return LtuConfig(
    encoder=EncoderConfig(
      dim=16, depth=2, heads=2, num_frames=64, num_mels=32, dtype="float32"
    ),
    llama=LlamaConfig(
      **sizes | {"dtype": param_dtype, "param_dtype": param_dtype} | llama
    ),
    lora=LoraConfig(rank=4),
  )


def write(folder, model, tensors=None, tokenizer=TOKENIZER, stage=STAGE):
  tensors = published_tensors(model) if tensors is None else tensors
  return write_bundle(folder, tensors, model.cfg, tokenizer, stage, TRAINING)


def assert_same_weights(a, b):
  a, b = (nnx.to_flat_state(nnx.state(model)) for model in (a, b))
  assert [path for path, _ in a] == [path for path, _ in b]
  for (path, one), (_, other) in zip(a, b, strict=True):
    one, other = np.asarray(one.get_value()), np.asarray(other.get_value())
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    assert one.tobytes() == other.tobytes(), path_name(path)


@jax.jit
def logits(model):
  rng = np.random.default_rng(0)
  encoder = model.cfg.encoder
  fbank = rng.normal(size=(2, encoder.num_frames, encoder.num_mels))
  tokens = rng.integers(0, model.cfg.llama.vocab, (2, 9))
  positions = np.tile(np.arange(2, 11, dtype=np.int32), (2, 1))
  args = (np.ones(2, bool), tokens, positions, np.ones((2, 9), np.int32))
  return model(fbank.astype(np.float32), *args)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_one_device(tmp_path, dtype):
  model = random_model(model_config(dtype))
  notes = write(tmp_path / "b", model)
  assert any("licence" in note for note in notes)
  found = bundle.load_bundle(tmp_path / "b")
  assert_same_weights(found.model, model)
  assert found.model.cfg == model.cfg
  wanted = logits(model)
  assert np.asarray(logits(found.model)).tobytes() == wanted.tobytes()
  assert found.stage == STAGE and found.config == TRAINING["config"]
  assert found.tokenizer.model == TOKENIZER.model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_mesh(tmp_path, dtype):
  model = random_model(model_config(dtype))
  write(tmp_path / "b", model)
  mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  found = bundle.load_bundle(tmp_path / "b", mesh)
  assert_same_weights(found.model, model)
  target = shardings(abstract_params(model.cfg, mesh))
  graphdef, params = nnx.split(model)
  model = nnx.merge(graphdef, jax.device_put(params, target))
  for (path, one), (_, other) in zip(
    nnx.to_flat_state(nnx.state(found.model)),
    nnx.to_flat_state(nnx.state(model)),
    strict=True,
  ):
    assert one.get_value().sharding == other.get_value().sharding, path
  assert not found.model.llama.embedding.get_value().is_fully_replicated
  with jax.set_mesh(mesh):
    got, wanted = np.asarray(logits(found.model)), np.asarray(logits(model))
  assert got.tobytes() == wanted.tobytes()


@given(
  layers=st.integers(1, 3),
  kv_heads=st.sampled_from([1, 2, 4]),
  head_dim=st.sampled_from([0, 6]),
  tied=st.booleans(),
  dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
  targets=st.sets(st.sampled_from(["q_proj", "o_proj", "up_proj"])),
  prefix=st.integers(0, 2),
  depth=st.integers(1, 3),
  patch_mels=st.sampled_from([16, 32]),
  seed=st.integers(0, 9),
)
@settings(max_examples=8, deadline=None)
def test_any_sizes(tmp_path_factory, targets, prefix, depth, **sizes):
  patch, seed = sizes.pop("patch_mels"), sizes.pop("seed")
  cfg = model_config(sizes.pop("dtype"), **sizes)
  encoder = dataclasses.replace(
    cfg.encoder, prefix_tokens=prefix, depth=depth, patch_mels=patch
  )
  lora = LoraConfig(rank=3 if targets else 0, targets=tuple(sorted(targets)))
  model = random_model(
    dataclasses.replace(cfg, encoder=encoder, lora=lora), seed
  )
  folder = tmp_path_factory.mktemp("any") / "b"
  write(folder, model, stage=None)
  found = bundle.load_bundle(folder)
  assert found.model.cfg == model.cfg and found.stage is None
  assert_same_weights(found.model, model)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  folder = tmp_path_factory.mktemp("written") / "b"
  write(folder, random_model(model_config()))
  return folder


@pytest.fixture
def folder(written, tmp_path):
  """A copy, to be damaged."""
  copy = tmp_path / "b"
  copy.mkdir()
  for path in written.iterdir():
    (copy / path.name).write_bytes(path.read_bytes())
  return copy


def test_the_folder_is_readable_without_us(written):
  """Names and layouts of the published code, for any safetensors reader."""
  tensors = published_tensors(random_model(model_config()))
  file = written / "model.safetensors"
  with safetensors.safe_open(file, framework="np") as found:
    keys = list(found.keys())
    assert {f"base_model.model.{name}" for name in tensors} == set(keys)
    name = "model.layers.1.self_attn.q_proj.lora_A.default.weight"
    array = found.get_tensor(f"base_model.model.{name}")
  assert array.shape == (4, 32)
  assert (array == tensors[name].read()).all()
  assert (written / "tokenizer.model").read_bytes() == TOKENIZER.model
  config = json.loads((written / "config.json").read_text())
  assert config["model"]["llama"]["kv_heads"] == 2
  assert config["stage"]["number"] == 2
  assert config["made_by"] == f"ltu_jax {ltu_jax.__version__}"


def test_model_card(written):
  _, front, text = (written / "README.md").read_text().split("---\n", 2)
  assert yaml.safe_load(front)["license"] == "other"
  model = random_model(model_config())
  count = lambda part: sum(
    x.size for x in jax.tree.leaves(nnx.state(getattr(model, part)))
  )
  assert f"| {count('encoder'):,} |" in text
  total = sum(map(count, ("encoder", "projector", "llama")))
  assert f"| {total:,} |" in text
  assert f"{STAGE.number}, {STAGE.name}" in text
  assert "- --llama=vicuna\n" in text and "openaqa/mini" in text
  assert f"| 2 {STAGE.name} | 1,400 | 0.540 | 0.342 |" in text
  # 64 frames: 25 ms, and 63 times 10 ms more.
  assert "It hears the first 0.66 s" in text
  assert "TO BE FILLED IN" in text.split("## Licence")[1]
  assert "ltu_jax.ask --bundle=FOLDER" in text


def test_model_card_of_unknown_origin(tmp_path):
  model = random_model(model_config())
  tensors = published_tensors(model)
  write_bundle(tmp_path / "b", tensors, model.cfg, TOKENIZER, None, {})
  text = (tmp_path / "b" / "README.md").read_text()
  assert "Not trained by ltu_jax since." in text
  assert text.count("TO BE FILLED IN") == 2


def error_of(folder):
  with pytest.raises((CheckpointError, ConversionError)) as error:
    bundle.load_bundle(folder)
  assert str(folder) in str(error.value)
  return str(error.value)


def change_config(folder, **changes):
  config = json.loads((folder / "config.json").read_text())
  (folder / "config.json").write_text(json.dumps(config | changes))
  return config


def test_a_missing_bundle(tmp_path):
  assert "there is no bundle" in error_of(tmp_path / "absent")
  assert "--format=bundle" in error_of(tmp_path)


def test_a_folder_that_is_something_else(tmp_path):
  (tmp_path / "config.json").write_text('{"seed": 0}')
  assert f"use --workdir={tmp_path}" in error_of(tmp_path)
  (tmp_path / "config.json").write_text("[]")
  assert "is no bundle" in error_of(tmp_path)


def test_a_later_version(folder):
  change_config(folder, version=7)
  assert "has version 7, and this program reads 1" in error_of(folder)


def test_a_damaged_config(folder):
  config = change_config(folder)
  text = (folder / "config.json").read_text()
  (folder / "config.json").write_text(text[: len(text) // 2])
  assert "config.json is damaged" in error_of(folder)
  for changes in (
    {"model": {}},
    {"model": 3},
    {"model": config["model"] | {"llama": {"width": 3}}},
    {"model": config["model"] | {"llama": {"heads": 0}}},
    {"model": config["model"] | {"encoder": {"depth": 10**12}}},
    {"model": config["model"] | {"lora": {"targets": [""]}}},
    {"stage": {"number": 1}},
    {"training": 3},
  ):
    (folder / "config.json").write_text(json.dumps(config | changes))
    assert "config.json cannot be used" in error_of(folder)


def test_missing_files(folder):
  (folder / "model.safetensors").rename(folder / "weights")
  assert "model.safetensors" in error_of(folder)
  (folder / "tokenizer.model").rename(folder / "model")
  assert "tokenizer is missing" in error_of(folder)


def test_a_damaged_tokenizer(folder):
  (folder / "tokenizer.model").write_bytes(b"none")
  assert "tokenizer is damaged" in error_of(folder)


@pytest.mark.parametrize("kept", [0, 5, 0.01, 0.9])
def test_truncated_weights(folder, kept):
  path = folder / "model.safetensors"
  data = path.read_bytes()
  kept = int(kept * len(data)) if isinstance(kept, float) else kept
  path.write_bytes(data[:kept])
  assert "model.safetensors" in error_of(folder)


def test_weights_of_another_model(folder):
  config = change_config(folder)["model"]
  llama = config["llama"] | {"mlp_dim": 40, "layers": 3}
  change_config(folder, model=config | {"llama": llama})
  lines = error_of(folder).splitlines()
  assert "not those of its config.json" in lines[0]
  # The new layer has nine tensors and four of adapters; the two old ones have
  # three matrices of another width.
  kinds = [line.split()[0] for line in lines[1:]]
  assert kinds.count("missing") == 13 and kinds.count("mis-shaped") == 6
  llama = config["llama"] | {"param_dtype": "bfloat16"}
  change_config(folder, model=config | {"llama": llama})
  assert "float32 in" in error_of(folder).splitlines()[1]


def test_what_is_not_a_whole_model_is_not_written(tmp_path):
  model = random_model(model_config())
  tensors = published_tensors(model)
  tensors["model.norm.weight"] = of_array(np.ones(32, "f2"), "FILE: norm")
  del tensors["lm_head.weight"]
  with pytest.raises(ConversionError) as error:
    write(tmp_path / "b", model, tensors)
  lines = str(error.value).splitlines()
  assert lines[1].split()[:2] == ["missing", "lm_head.weight"]
  assert "FILE: norm" in lines[2] and len(lines) == 3
  with pytest.raises(ConversionError, match="needs a tokenizer"):
    write(tmp_path / "b", model, tokenizer=None)
  small = random_model(model_config(vocab=20))
  with pytest.raises(ConversionError, match="only 20"):
    write(tmp_path / "b", small)
  assert list(tmp_path.iterdir()) == []
  with pytest.raises(ConversionError, match="exists and is not written over"):
    write(tmp_path, model)


def test_asking_needs_no_tensorflow(written):
  """Nor does importing the evaluation."""
  code = """
import sys
from ltu_jax import ask
from ltu_jax.evaluate import __main__
status = ask.main(sys.argv[1:])
print(status, "tensorflow" in sys.modules)
"""
  args = [f"--bundle={written}", "What is it?", "--max_new_tokens=2"]
  done = subprocess.run(
    [sys.executable, "-c", code, *args],
    env=os.environ | {"XLA_FLAGS": xla_flags.quick()},
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.splitlines()[-1] == "0 False"
