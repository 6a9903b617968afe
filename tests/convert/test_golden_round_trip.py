"""The published model in, trained as published, and out again."""

import dataclasses
import re

import jax
import numpy as np
import pytest
import safetensors.numpy
import tokenizers
from tokenizers import models

import golden_data
from configs import base as base_config
from golden_training import TRAINABLE, compare_history, train
from ltu_jax import base
from ltu_jax import config as config_lib
from ltu_jax.checkpoint import Checkpoints
from ltu_jax.convert.__main__ import main
from ltu_jax.convert.names import PREFIX, is_carried
from ltu_jax.curriculum import Stage
from ltu_jax.data.bpe_tokenizer import JsonTokenizer
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import to_pure
from ltu_jax.workdir import Workdir, load_base_params

HEADS = ["encoder.heads=4", "llama.heads=4", "llama.kv_heads=4"]
"""What the tiny file does not say and is not as in LLaMA and CAV-MAE."""


def import_golden(tmp_path, capsys) -> str:
  """The published state dict through the command line; the base folder."""
  file, out = tmp_path / "published.safetensors", tmp_path / "base"
  safetensors.numpy.save_file(golden_data.params("forward_a"), file)
  settings = [f"--set={setting}" for setting in HEADS]
  status = main(
    ["import", f"--ltu={file}", f"--out={out}", "--dtype=float32", *settings]
  )
  assert status == 0, capsys.readouterr().err
  return str(out)


def start_run(root, base_folder) -> Workdir:
  """A run's folder on a base, as training makes it, with one stage."""
  config = base_config.get_config()
  config.base = base_folder
  config.data.batch_size = 4
  stage = Stage(2, "all", trainable=TRAINABLE)
  config.stages = {"stage2": config_lib.fields(stage)}
  config_lib.adopt(config, base.info(base_folder).parts)
  folder = Workdir(root)
  folder.record_config(config)
  folder.record_pretrained(base_folder)
  words = {"<unk>": 0, "sound": 1}
  model = tokenizers.Tokenizer(models.WordLevel(words, unk_token="<unk>"))
  model.add_special_tokens(["<s>", "</s>"])
  names = {"bos_token": "<s>", "eos_token": "</s>"}
  JsonTokenizer(model.to_str().encode(), names).save(folder.root)
  return folder


@pytest.mark.slow
def test_import_train_export(tmp_path, capsys):
  """Every entry of the published file after the published 20 steps."""
  folder = start_run(tmp_path / "run", import_golden(tmp_path, capsys))
  # The same sizes; training here runs in float32, the default is bfloat16.
  golden = golden_data.config("forward_a")
  cfg = config_lib.model_config(folder.read_config())
  float32 = lambda part: dataclasses.replace(part, dtype="float32")
  assert float32(cfg.encoder) == golden.encoder
  assert float32(cfg.llama) == golden.llama
  assert cfg.lora == dataclasses.replace(golden.lora, dropout=cfg.lora.dropout)
  mesh = make_mesh({"fsdp": 2}, jax.devices()[:2])
  params, _ = load_base_params(folder, golden, mesh)
  history, state, _ = train(params, mesh)
  compare_history(history)
  (stage,) = config_lib.stages(folder.read_config())
  with Checkpoints(folder.checkpoints(stage)) as saved:
    saved.save(20, to_pure(state), None)

  out = tmp_path / "out.safetensors"
  command = ["export", f"--workdir={folder.root}", "--format=ltu"]
  status = main([*command, f"--out={out}", "--all_weights"])
  assert status == 0, capsys.readouterr().err
  got = safetensors.numpy.load_file(out)
  start = golden_data.params("forward_a")
  final = golden_data.params("train_a", "final")
  assert got.keys() == start.keys()
  assert len(final) == golden_data.meta("train_a")["trainable"]
  for name, want in start.items():
    assert got[name].dtype == want.dtype, name
    if name in final and not is_carried(name.removeprefix(PREFIX)):
      compare_trained(name, got[name], final[name])
      assert got[name].tobytes() != want.tobytes(), name
    else:
      # Frozen, or without effect: not a bit changes, here or there.
      assert got[name].tobytes() == want.tobytes(), name
      np.testing.assert_array_equal(final.get(name, want), want)

  # The published code's own selection, as torch's file.
  out = tmp_path / "out.bin"
  assert main([*command, f"--out={out}"]) == 0
  import torch

  part = torch.load(out, weights_only=True)
  wanted = {n for n in start if re.search("lora|audio", n)}
  assert part.keys() == wanted
  for name in wanted:
    assert part[name].numpy().tobytes() == got[name].tobytes(), name


def compare_trained(name, got, want):
  """Within what float64 moves the final weights (golden/README.md), x 10."""
  atol = np.full(want.shape, 6e-6)
  if name.endswith("attn.qkv.bias"):
    # The key's third: gradient 0 in exact arithmetic, Adam steps on noise.
    third = len(want) // 3
    atol[third : 2 * third] = 1e-3
  assert np.all(np.abs(got - want) <= atol), name


def test_no_training_no_change(tmp_path, capsys):
  out = tmp_path / "again.safetensors"
  folder = import_golden(tmp_path, capsys)
  command = ["export", f"--base={folder}", "--format=ltu", "--all_weights"]
  assert main([*command, f"--out={out}"]) == 0
  got = safetensors.numpy.load_file(out)
  want = golden_data.params("forward_a")
  assert got.keys() == want.keys()
  for name, array in want.items():
    assert got[name].tobytes() == array.tobytes(), name
    assert got[name].shape == array.shape, name
