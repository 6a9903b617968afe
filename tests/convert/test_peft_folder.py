"""Adapter folders against PEFT, which writes and reads them."""

import json
import pathlib

import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from llama_oracle import our_logits, random_llama, their_logits
from ltu_jax.convert.llama import read_llama
from ltu_jax.convert.names import PREFIX
from ltu_jax.convert.peft import adapter_config_json, read_peft
from ltu_jax.convert.tensors import ConversionError
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.projector import ProjectorConfig

ALL = (
  *("q_proj", "k_proj", "v_proj", "o_proj"),
  *("gate_proj", "up_proj", "down_proj"),
)

TARGETS = {
  "published": (["v_proj", "q_proj"], ("q_proj", "v_proj")),
  "all": (list(ALL), ALL),
  "all-linear": ("all-linear", ALL),
  "pattern": (r".*\.mlp\.(up|down)_proj", ("up_proj", "down_proj")),
  "endings": (["self_attn.k_proj"], ("k_proj",)),
}


def adapted(target_modules=("q_proj", "v_proj"), **options) -> peft.PeftModel:
  """A LLaMA with adapters, both of whose matrices are random."""
  config = peft.LoraConfig(
    target_modules=target_modules, task_type="CAUSAL_LM", **options
  )
  model = peft.get_peft_model(random_llama(num_key_value_heads=2), config)
  generator = torch.Generator().manual_seed(1)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      if "lora_" in name:
        weight.normal_(0, 0.2, generator=generator)
  return model.eval()


def edit(folder: pathlib.Path, **changes):
  path = folder / "adapter_config.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("kind", TARGETS)
def test_sizes_and_targets_are_read(tmp_path, kind):
  given, targets = TARGETS[kind]
  model = adapted(given, r=4, lora_alpha=6, lora_dropout=0.1)
  model.save_pretrained(tmp_path)
  source = read_peft(tmp_path)
  assert source.parts == {"lora": LoraConfig(4, 6.0, 0.1, targets)}
  state = load_file(tmp_path / "adapter_model.safetensors")
  assert len(source.tensors) == len(state) == 2 * 2 * len(targets)


@pytest.mark.parametrize("kind", ["published", "all"])
def test_logits_are_those_of_peft(tmp_path, kind):
  model = adapted(TARGETS[kind][0], r=4, lora_alpha=6)
  model.save_pretrained(tmp_path / "adapter")
  random_llama(num_key_value_heads=2).save_pretrained(tmp_path / "base")
  base, source = read_llama(tmp_path / "base"), read_peft(tmp_path / "adapter")
  want, tolerance = their_logits(model)
  got = our_logits(
    base.parts["llama"], base.tensors | source.tensors, source.parts["lora"]
  )
  # PEFT's own rounding, times ten: sums run in another order here.
  assert tolerance < 1e-3 * np.abs(want).max()
  np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)
  without, _ = their_logits(random_llama(num_key_value_heads=2))
  assert np.abs(got - without).max() > 100 * tolerance


def test_bin_files_and_names_of_old_peft(tmp_path):
  """PEFT wrote .bin first; LTU's own writes the adapter's name as well."""
  adapted(r=2).save_pretrained(tmp_path)
  state = load_file(tmp_path / "adapter_model.safetensors")
  whole = read_peft(tmp_path)
  old = tmp_path / "old"
  old.mkdir()
  config = (tmp_path / "adapter_config.json").read_text()
  (old / "adapter_config.json").write_text(config)
  for state_dict in (
    state,
    {k.replace(".weight", ".default.weight"): v for k, v in state.items()},
    {k.removeprefix(PREFIX): v for k, v in state.items()},
  ):
    torch.save(state_dict, old / "adapter_model.bin")
    found = read_peft(old)
    assert found.parts == whole.parts
    assert set(found.tensors) == set(whole.tensors)
    for name, tensor in found.tensors.items():
      np.testing.assert_array_equal(tensor.read(), whole.tensors[name].read())


REFUSED = {
  "bias": "all",
  "use_dora": True,
  "use_rslora": True,
  "fan_in_fan_out": True,
  "rank_pattern": {"q_proj": 2},
  "alpha_pattern": {"q_proj": 2},
  "modules_to_save": ["lm_head"],
  "layers_to_transform": [0],
  "lora_bias": True,
  "layer_replication": [[0, 2], [1, 2]],
  "trainable_token_indices": [1],
  "target_parameters": ["weight"],
  "use_qalora": True,
  "alora_invocation_tokens": [1],
  "init_lora_weights": "pissa",
  "an_option_yet_to_come": 1,
}


def test_all_that_computes_something_else_is_listed(tmp_path):
  adapted().save_pretrained(tmp_path)
  edit(tmp_path, **REFUSED, peft_type="IA3", r="8", lora_alpha=float("nan"))
  with pytest.raises(ConversionError) as e:
    read_peft(tmp_path)
  text = str(e.value)
  assert str(tmp_path / "adapter_config.json") in text
  for key in (*REFUSED, "peft_type", "r ", "lora_alpha"):
    assert key in text


@pytest.mark.parametrize(
  "options",
  [{"use_rslora": True}, {"use_dora": True}, {"lora_bias": True}],
  ids=str,
)
def test_what_peft_saves_of_variants_is_refused(tmp_path, options):
  adapted(**options).save_pretrained(tmp_path)
  with pytest.raises(ConversionError, match=next(iter(options))):
    read_peft(tmp_path)


def test_a_config_that_does_not_fit_its_tensors(tmp_path):
  adapted(r=2).save_pretrained(tmp_path)
  edit(tmp_path, r=4, target_modules=["q_proj", "k_proj"])
  with pytest.raises(ConversionError) as e:
    read_peft(tmp_path)
  rows = [" ".join(line.split()) for line in str(e.value).splitlines()]
  assert "target_modules k_proj named, but has no tensors" in rows
  assert "target_modules v_proj not named" in rows
  assert sum("the rank is 4" in row for row in rows) == 8


def test_tensors_that_are_no_adapters_are_listed(tmp_path):
  adapted(r=2).save_pretrained(tmp_path)
  path = tmp_path / "adapter_model.safetensors"
  state = load_file(path)
  first = next(iter(state))
  more = {
    "base_model.model.model.embed_tokens.lora_embedding_A": torch.ones(1),
    first.replace("q_proj", "qq_proj"): torch.ones(2, 2),
    first.replace(".weight", ".other.weight"): torch.ones(2, 2),
    first.removeprefix(PREFIX): torch.ones(2, 2),
  }
  save_file(state | more, path)
  with pytest.raises(ConversionError) as e:
    read_peft(tmp_path)
  for name in list(more)[:3]:
    assert name in str(e.value)
  assert "twice" in str(e.value)
  save_file({}, path)
  with pytest.raises(ConversionError, match="any adapter") as e:
    read_peft(tmp_path)
  assert str(tmp_path) in str(e.value)


def test_missing_files(tmp_path):
  with pytest.raises(ConversionError, match=r"adapter_config\.json"):
    read_peft(tmp_path)
  adapted().save_pretrained(tmp_path)
  (tmp_path / "adapter_model.safetensors").unlink()
  with pytest.raises(ConversionError, match=r"adapter_model\.safetensors"):
    read_peft(tmp_path)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ALL])
def test_peft_loads_the_config_written(tmp_path, targets):
  model = adapted(list(targets), r=4, lora_alpha=6)
  want, _ = their_logits(model)
  model.save_pretrained(tmp_path / "theirs")
  source = read_peft(tmp_path / "theirs")
  folder = tmp_path / "ours"
  folder.mkdir()
  config = adapter_config_json(source.parts["lora"], "somewhere/llama")
  (folder / "adapter_config.json").write_text(json.dumps(config))
  arrays = {
    PREFIX + name.replace(".default.", "."): tensor.read()
    for name, tensor in source.tensors.items()
  }
  save_arrays(arrays, folder / "adapter_model.safetensors")
  again = peft.PeftModel.from_pretrained(
    random_llama(num_key_value_heads=2), folder
  ).eval()
  assert again.peft_config["default"].base_model_name_or_path == (
    "somewhere/llama"
  )
  np.testing.assert_array_equal(their_logits(again)[0], want)
  assert read_peft(folder).parts == source.parts


AUDIO = {
  "model.audio_encoder.modality_a": np.ones((1, 1, 8), np.float32),
  "model.audio_proj.1.bias": np.ones(32, np.float32),
}
SIZES = {"encoder": json.dumps({"dim": 8, "heads": 2, "depth": 3})}


def test_the_audio_file_beside_it_is_read(tmp_path):
  adapted().save_pretrained(tmp_path)
  adapters = read_peft(tmp_path)
  save_arrays(AUDIO, tmp_path / "audio.safetensors", SIZES)
  both = read_peft(tmp_path)
  assert both.parts == adapters.parts | {
    "encoder": EncoderConfig(dim=8, heads=2, depth=3),
    "projector": ProjectorConfig(),
  }
  assert set(both.tensors) == set(adapters.tensors) | set(AUDIO)


@pytest.mark.parametrize(
  ("tensors", "metadata", "says"),
  [
    (AUDIO, {}, "'encoder'"),
    (AUDIO, {"encoder": "{"}, "'encoder'"),
    (AUDIO, {"encoder": "[]"}, "'encoder'"),
    (AUDIO, {"encoder": '{"width": 8}'}, "width"),
    (AUDIO | {"lm_head.weight": np.ones(2)}, SIZES, "weights of llama"),
  ],
)
def test_a_broken_audio_file(tmp_path, tensors, metadata, says):
  adapted().save_pretrained(tmp_path)
  save_arrays(tensors, tmp_path / "audio.safetensors", metadata)
  with pytest.raises(ConversionError, match=says) as e:
    read_peft(tmp_path)
  assert "audio.safetensors" in str(e.value)
