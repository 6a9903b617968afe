"""LLaMA folders against transformers, which writes and reads them."""

import json
import pathlib
import shutil

import hypothesis
import numpy as np
import pytest
import sentencepiece
import torch
import transformers
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import golden_data
from llama_oracle import SIZES, our_logits, random_llama, their_logits
from ltu_jax.convert.llama import llama_config, llama_config_json, read_llama
from ltu_jax.convert.tensors import ConversionError
from ltu_jax.models.llama import LlamaConfig

KINDS = {
  "multi-head": {},
  "grouped": {"num_key_value_heads": 2},
  "tied": {"num_key_value_heads": 1, "tie_word_embeddings": True},
  "wide heads": {"head_dim": 16},
  "rope base and epsilon": {
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
    "rms_norm_eps": 0.1,
  },
}


def save_as_bin(model: torch.nn.Module, folder: pathlib.Path):
  """Two `.bin` shards with an index, as before safetensors."""
  model.save_pretrained(folder)
  (folder / "model.safetensors").unlink()
  state = model.state_dict()
  weight_map = {}
  for i, names in enumerate((list(state)[::2], list(state)[1::2])):
    file = f"pytorch_model-0000{i + 1}-of-00002.bin"
    torch.save({name: state[name] for name in names}, folder / file)
    weight_map |= dict.fromkeys(names, file)
  index = {"metadata": {}, "weight_map": weight_map}
  (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def edit(folder: pathlib.Path, **changes):
  """Changes config.json; ... takes a key out."""
  path = folder / "config.json"
  config = json.loads(path.read_text()) | changes
  config = {key: value for key, value in config.items() if value is not ...}
  path.write_text(json.dumps(config))


@pytest.mark.parametrize(
  ("kind", "file"), [*((k, "safetensors") for k in KINDS), ("grouped", "bin")]
)
def test_logits_are_those_of_transformers(tmp_path, kind, file):
  model = random_llama(**KINDS[kind])
  if file == "bin":
    save_as_bin(model, tmp_path)
  else:
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
  source = read_llama(tmp_path)
  assert not source.carried and source.tokenizer is None
  want, tolerance = their_logits(model)
  # transformers' own rounding, times ten: sums run in another order here.
  assert tolerance < 1e-3 * np.abs(want).max()
  got = our_logits(source.parts["llama"], source.tensors)
  np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


def test_dtypes_stay_as_they_are(tmp_path):
  random_llama().bfloat16().save_pretrained(tmp_path)
  state = load_file(tmp_path / "model.safetensors")
  source = read_llama(tmp_path)
  assert set(source.tensors) == set(state)
  for name, tensor in source.tensors.items():
    assert tensor.dtype.name == "bfloat16"
    bits = state[name].view(torch.int16).numpy()
    np.testing.assert_array_equal(tensor.read().view(np.int16), bits)
  # Dtypes are the importer's to choose.
  assert source.parts["llama"].param_dtype == LlamaConfig().param_dtype


def test_old_configs_and_rotary_frequencies(tmp_path):
  """As LLaMA-7B's folders of 2023: fewer keys, `inv_freq` in the weights."""
  model = random_llama()
  model.save_pretrained(tmp_path)
  state = dict(model.state_dict())
  name = "model.layers.{}.self_attn.rotary_emb.inv_freq"
  frequencies = {name.format(i): torch.rand(4) for i in range(2)}
  (tmp_path / "model.safetensors").unlink()
  torch.save(state | frequencies, tmp_path / "pytorch_model.bin")
  gone = ["rope_parameters", "num_key_value_heads", "head_dim", "hidden_act"]
  gone += ["attention_bias", "mlp_bias", "tie_word_embeddings", "rms_norm_eps"]
  edit(tmp_path, **dict.fromkeys(gone, ...), pretraining_tp=2)
  source = read_llama(tmp_path)
  assert set(source.carried) == set(frequencies)
  for key, tensor in source.carried.items():
    np.testing.assert_array_equal(tensor.read(), frequencies[key].numpy())
  assert set(source.tensors) == set(state)
  assert source.parts["llama"] == LlamaConfig(
    vocab=50, dim=32, mlp_dim=48, layers=2, heads=4, kv_heads=4
  )


def test_output_matrix_of_a_tied_model(tmp_path):
  model = random_llama(tie_word_embeddings=True)
  save_as_bin(model, tmp_path)  # has it twice, as torch's state dict
  source = read_llama(tmp_path)
  assert "lm_head.weight" not in source.tensors
  assert len(source.notes) == 1 and "lm_head.weight" in source.notes[0]
  # transformers keeps both apart when they differ, whatever the config says.
  for file in tmp_path.glob("*.bin"):
    state = torch.load(file)
    if "lm_head.weight" in state:
      state["lm_head.weight"] = state["lm_head.weight"] + 1
      torch.save(state, file)
  with pytest.raises(ConversionError, match='"tie_word_embeddings": false'):
    read_llama(tmp_path)
  edit(tmp_path, tie_word_embeddings=False)
  source = read_llama(tmp_path)
  assert not source.parts["llama"].tied and "lm_head.weight" in source.tensors


def test_its_tokenizer_comes_with_it(tmp_path):
  random_llama().save_pretrained(tmp_path)
  model = golden_data.GOLDEN / "tiny_spm.model"
  shutil.copy(model, tmp_path / "tokenizer.model")
  theirs = sentencepiece.SentencePieceProcessor(model_file=str(model))
  text = "what can be heard?"
  ours = read_llama(tmp_path).tokenizer
  assert ours.encode(text, bos=False, eos=False) == theirs.encode(text)


def test_nothing_is_dropped_silently(tmp_path):
  """What LLaMA has not is left for the importer to report."""
  model = random_llama()
  model.save_pretrained(tmp_path)
  state = load_file(tmp_path / "model.safetensors")
  bias = {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}
  save_file(state | bias, tmp_path / "model.safetensors")
  source = read_llama(tmp_path)
  assert set(source.tensors) == set(state) | set(bias)


def test_all_that_cannot_be_computed_is_listed(tmp_path):
  random_llama().save_pretrained(tmp_path)
  changes = {
    "model_type": "mistral",
    "hidden_act": "gelu",
    "attention_bias": True,
    "mlp_bias": True,
    "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5},
    "rope_scaling": {"type": "linear", "factor": 2.0},
    "rope_theta": 1e4,
    "quantization_config": {"quant_method": "gptq"},
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": float("nan"),
    "hidden_size": -32,
    "num_attention_heads": "4",
    "num_hidden_layers": True,
    "vocab_size": ...,
    "tie_word_embeddings": "yes",
  }
  edit(tmp_path, **changes)
  with pytest.raises(ConversionError) as e:
    read_llama(tmp_path)
  text = str(e.value)
  assert str(tmp_path / "config.json") in text
  for key in changes:
    assert key in text
  for word in ("mistral", "gelu", "llama3", "linear", "gptq"):
    assert word in text


@pytest.mark.parametrize("scaling", ["linear", "dynamic", "yarn", "llama3"])
def test_rope_scaling_is_refused_old_and_new(scaling):
  old = {"rope_scaling": {"type": scaling, "factor": 2.0}}
  new = {"rope_parameters": {"rope_type": scaling, "rope_theta": 1e4}}
  for more in (old, new):
    with pytest.raises(ConversionError, match=scaling):
      llama_config(SIZES | {"model_type": "llama"} | more, "here")


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("rms_norm_eps", 10**400),
    ("num_hidden_layers", 10**12),
    ("vocab_size", 2**40),
    ("hidden_size", 10**400),
  ],
)
def test_sizes_that_no_model_has_are_refused(key, value):
  config = SIZES | {"model_type": "llama", key: value}
  with pytest.raises(ConversionError, match=r"^here: "):
    llama_config(config, "here")


def test_heads_that_do_not_divide(tmp_path):
  random_llama().save_pretrained(tmp_path)
  edit(tmp_path, num_key_value_heads=3)
  with pytest.raises(ConversionError, match=r"config\.json: llama:"):
    read_llama(tmp_path)


def test_missing_files(tmp_path):
  with pytest.raises(ConversionError, match=r"config\.json"):
    read_llama(tmp_path)
  random_llama().save_pretrained(tmp_path)
  (tmp_path / "model.safetensors").unlink()
  with pytest.raises(ConversionError, match=r"has none of model\.safetensors"):
    read_llama(tmp_path)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
  st.builds(
    LlamaConfig,
    vocab=st.integers(1, 99),
    dim=st.sampled_from([12, 24]),
    mlp_dim=st.integers(1, 99),
    layers=st.integers(1, 9),
    heads=st.just(6),
    kv_heads=st.sampled_from([1, 2, 3, 6]),
    head_dim=st.sampled_from([0, 2, 8]),
    rope_base=st.floats(1, 1e7),
    norm_eps=st.floats(1e-9, 1),
    tied=st.booleans(),
    param_dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
  ),
  st.sampled_from([None, 3]),
)
def test_the_config_written_is_what_transformers_reads(
  tmp_path_factory, cfg, pad
):
  folder = tmp_path_factory.mktemp("config")
  written = llama_config_json(cfg, bos=1, eos=2, pad=pad)
  (folder / "config.json").write_text(json.dumps(written))
  theirs = transformers.AutoConfig.from_pretrained(folder)
  assert isinstance(theirs, transformers.LlamaConfig)
  assert theirs.rope_parameters == {
    "rope_type": "default",
    "rope_theta": cfg.rope_base,
  }
  assert str(theirs.dtype) == f"torch.{cfg.param_dtype}"
  ids = theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id
  assert ids == (1, 2, pad)
  # What they write of it is what we read of ours.
  theirs.save_pretrained(folder)
  again = json.loads((folder / "config.json").read_text())
  for config in (written, again):
    got = llama_config(config, "")
    assert got == LlamaConfig(**{**vars(cfg), "param_dtype": got.param_dtype})


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_runs_the_config_written(tmp_path, kind):
  """Our config.json beside their weights: the same model."""
  model = random_llama(**KINDS[kind])
  model.save_pretrained(tmp_path)
  want, _ = their_logits(model)
  cfg = read_llama(tmp_path).parts["llama"]
  written = llama_config_json(cfg, bos=1, eos=2, pad=None)
  (tmp_path / "config.json").write_text(json.dumps(written))
  again = transformers.LlamaForCausalLM.from_pretrained(
    tmp_path, dtype=torch.float32
  )
  np.testing.assert_array_equal(their_logits(again)[0], want)


def test_a_config_that_transformers_would_refuse():
  cfg = LlamaConfig(dim=10, heads=4, kv_heads=4, head_dim=2)
  with pytest.raises(ConversionError, match="no multiple"):
    llama_config_json(cfg, bos=1, eos=2, pad=0)
