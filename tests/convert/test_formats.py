"""Exports, read by torch, transformers and peft, and against golden names."""

import dataclasses
import functools
import json

import ml_dtypes
import numpy as np
import peft
import pytest
import safetensors.numpy
import torch
import transformers
from safetensors import safe_open

import golden_data
import llama_oracle
from ltu_jax.convert import formats, names
from ltu_jax.convert.tensors import ConversionError, of_array
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig
from ltu_jax.models.projector import ProjectorConfig
from random_model import published_tensors, random_model

TOKENIZER = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")

ENCODER = EncoderConfig(
  dim=16, depth=2, heads=2, num_frames=64, num_mels=32, dtype="float32"
)

LORAS = {
  "q and v": LoraConfig(rank=4, alpha=12.0),
  "all": LoraConfig(
    rank=3,
    alpha=16.0,
    targets=("q_proj", "k_proj", "v_proj", "o_proj", "down_proj", "up_proj"),
  ),
}


def model_config(lora="q and v", dtype="float32", **llama):
  sizes = {"vocab": TOKENIZER.vocab_size, "dim": 32, "mlp_dim": 48}
  sizes |= {"layers": 2, "heads": 4, "kv_heads": 4, "norm_eps": 1e-5}
  decoder = LlamaConfig(
    **sizes | {"dtype": "float32", "param_dtype": dtype} | llama
  )
  return LtuConfig(encoder=ENCODER, llama=decoder, lora=LORAS[lora])


KINDS = {
  "heads": {},
  "grouped": {"kv_heads": 2, "rope_base": 1e5, "head_dim": 16},
  "tied": {"kv_heads": 1, "tied": True},
}


def arrays(tensors):
  return {name: tensor.read() for name, tensor in tensors.items()}


def assert_same(found, wanted):
  assert found.keys() == wanted.keys()
  for name, array in wanted.items():
    assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
    assert found[name].tobytes() == array.tobytes(), name


def state_of(model):
  """The weights of a torch model; the output matrix of a tied one left out."""
  state = {k: v.detach() for k, v in model.state_dict().items()}
  if model.config.tie_word_embeddings:
    del state["lm_head.weight"]
  numpy = lambda v: (
    v.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    if v.dtype == torch.bfloat16
    else v.numpy()
  )
  return {name: numpy(value) for name, value in state.items()}


def without_adapters(cfg, tensors):
  kept = {k: v for k, v in tensors.items() if "lora" not in k}
  return dataclasses.replace(cfg, lora=LoraConfig(rank=0)), kept


def export_unmerged(folder, tensors, cfg):
  formats.export_hf(folder, tensors, cfg, TOKENIZER, merge=False)
  return transformers.LlamaForCausalLM.from_pretrained(folder)


@functools.cache
def decoder(kind):
  """A model with adapters almost everywhere, and our logits."""
  cfg = model_config("all", **KINDS[kind])
  tensors = published_tensors(random_model(cfg))
  return cfg, tensors, llama_oracle.our_logits(cfg.llama, tensors, cfg.lora)


@pytest.mark.parametrize("kind", KINDS)
def test_hf_is_the_model_for_transformers(tmp_path, kind):
  cfg, tensors, got = decoder(kind)
  notes = formats.export_hf(tmp_path / "hf", tensors, cfg, TOKENIZER)
  assert any("adapters" in note and "merged" in note for note in notes)
  model = transformers.LlamaForCausalLM.from_pretrained(
    tmp_path / "hf", dtype="float32"
  )
  wanted, tolerance = llama_oracle.their_logits(model)
  # Ten times what float32 loses there: see llama_oracle.
  np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)
  base = export_unmerged(tmp_path / "base", tensors, cfg)
  far, _ = llama_oracle.their_logits(base)
  assert np.abs(far - wanted).max() > 100 * tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_the_model_for_peft(tmp_path, kind):
  cfg, tensors, got = decoder(kind)
  base = export_unmerged(tmp_path / "base", tensors, cfg)
  formats.export_peft(tmp_path / "peft", tensors, cfg)
  model = peft.PeftModel.from_pretrained(base, tmp_path / "peft")
  wanted, tolerance = llama_oracle.their_logits(model)
  np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_merge_is_that_of_peft(tmp_path, dtype):
  cfg = model_config("all", dtype, kv_heads=2)
  tensors = published_tensors(random_model(cfg))
  for name, tensor in tensors.items():
    if "lora" in name:
      # Sums of products of 1/64 are exact, in whatever order they are summed.
      grid = np.round(tensor.read() * 64) / 64
      tensors[name] = of_array(grid.astype("f4"))
  base = export_unmerged(tmp_path / "base", tensors, cfg)
  assert base.dtype == getattr(torch, dtype)
  formats.export_peft(tmp_path / "peft", tensors, cfg)
  model = peft.PeftModel.from_pretrained(base, tmp_path / "peft")
  wanted = state_of(model.merge_and_unload())
  got = arrays(formats.merged(tensors, cfg))
  assert_same(got, wanted)


def test_hf_folder(tmp_path):
  cfg = model_config(dtype="bfloat16")
  tensors = published_tensors(random_model(cfg))
  formats.export_hf(tmp_path / "hf", tensors, cfg, TOKENIZER)
  model = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "hf")
  assert model.dtype == torch.bfloat16
  ids = model.generation_config
  assert (ids.bos_token_id, ids.eos_token_id, ids.pad_token_id) == (1, 2, 0)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
  text = "What can be heard?"
  assert theirs(text).input_ids == TOKENIZER.encode(text, bos=True, eos=False)
  assert_audio(tmp_path / "hf", cfg, tensors)
  merged = arrays(formats.merged(tensors, cfg))
  changed = {k for k, v in merged.items() if (v != tensors[k].read()).any()}
  assert changed == {
    f"model.layers.{i}.self_attn.{name}.weight"
    for i in range(2)
    for name in cfg.lora.targets
  }


def assert_audio(folder, cfg, tensors):
  """Encoder and projector are beside, with their sizes."""
  path = folder / "audio.safetensors"
  wanted = {k: v for k, v in arrays(tensors).items() if "audio" in k}
  assert_same(safetensors.numpy.load_file(path), wanted)
  with safe_open(path, framework="np") as file:
    sizes = {k: json.loads(v) for k, v in file.metadata().items()}
  assert EncoderConfig(**sizes["encoder"]) == cfg.encoder
  assert ProjectorConfig(**sizes["projector"]) == cfg.projector


def test_peft_folder(tmp_path):
  cfg = model_config("all")
  tensors = published_tensors(random_model(cfg))
  formats.export_peft(tmp_path / "peft", tensors, cfg)
  config = peft.LoraConfig.from_pretrained(tmp_path / "peft")
  assert (config.r, config.lora_alpha) == (3, 16)
  assert set(config.target_modules) == set(cfg.lora.targets)
  file = tmp_path / "peft" / "adapter_model.safetensors"
  found = safetensors.numpy.load_file(file)
  assert len(found) == 2 * 2 * len(cfg.lora.targets)
  name = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"
  assert found[name].shape == (3, 32)
  assert_audio(tmp_path / "peft", cfg, tensors)
  cfg, tensors = without_adapters(cfg, tensors)
  with pytest.raises(ConversionError, match="no adapters"):
    formats.export_peft(tmp_path / "none", tensors, cfg)
  assert not (tmp_path / "none").exists()


def golden(name="forward_a"):
  """A golden state dict: ours by canonical name, carried, config."""
  every = {
    key.removeprefix(names.PREFIX): of_array(value, key)
    for key, value in golden_data.params(name).items()
  }
  carried = {k: v for k, v in every.items() if names.is_carried(k)}
  ours = {k: v for k, v in every.items() if k not in carried}
  return ours, carried, golden_data.config(name)


def load(path):
  if path.suffix == ".safetensors":
    return safetensors.numpy.load_file(path)
  found = torch.load(path, weights_only=True)
  return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
@pytest.mark.parametrize("name", ["forward_a", "forward_b"])
def test_ltu_is_the_published_state_dict(tmp_path, name, suffix):
  ours, carried, cfg = golden(name)
  path = tmp_path / f"all{suffix}"
  formats.export_ltu(path, ours, cfg, carried, all_weights=True)
  assert_same(load(path), golden_data.params(name))
  path = tmp_path / f"trained{suffix}"
  formats.export_ltu(path, ours, cfg, carried)
  wanted = {
    key: value
    for key, value in golden_data.params(name).items()
    if "lora" in key or "audio" in key
  }
  assert len(wanted) < len(golden_data.params(name))
  assert_same(load(path), wanted)


def test_ltu_without_what_is_carried_has_its_start_values(tmp_path):
  ours, _, cfg = golden()
  path = tmp_path / "x.safetensors"
  formats.export_ltu(path, ours, cfg, all_weights=True)
  found, wanted = load(path), golden_data.params("forward_a")
  assert found.keys() == wanted.keys()
  for name, array in found.items():
    assert (array.shape, array.dtype) == (
      wanted[name].shape,
      wanted[name].dtype,
    )
    if not names.is_carried(name):
      assert array.tobytes() == wanted[name].tobytes()
    elif "inv_freq" in name:
      # torch computes these in float32: one rounding of a power.
      np.testing.assert_allclose(array, wanted[name], rtol=3e-7)
    else:
      assert (array == (1 if name.endswith("weight") else 0)).all()


def test_ltu_of_a_tied_decoder_has_its_output_matrix(tmp_path):
  cfg = model_config(tied=True)
  tensors = published_tensors(random_model(cfg))
  path = tmp_path / "x.safetensors"
  formats.export_ltu(path, tensors, cfg, all_weights=True)
  found = load(path)
  embedding = found[f"{names.PREFIX}model.embed_tokens.weight"]
  assert (found[f"{names.PREFIX}lm_head.weight"] == embedding).all()


def test_ltu_says_what_the_published_code_needs(tmp_path):
  cfg = model_config("all", kv_heads=2)
  tensors = published_tensors(random_model(cfg))
  notes = formats.export_ltu(tmp_path / "x.safetensors", tensors, cfg)
  text = "\n".join(notes)
  assert "encoder.dim is 16 (published: 768)" in text
  assert "encoder.heads is 2 (published: 12)" in text
  assert "4 heads of 8 and 2 for keys and values" in text
  assert "r=3, lora_alpha=16" in text and '"down_proj"' in text


def test_ltu_of_the_published_model_needs_nothing():
  assert formats.check_published(LtuConfig()) == ([], [])


@pytest.mark.parametrize(
  ("part", "field", "value"),
  [
    ("encoder", "prefix_tokens", 2),
    ("encoder", "norm_eps", 1e-6),
    ("projector", "time_pool", 4),
    ("projector", "scale", 1.0),
    ("projector", "norm_eps", 1e-6),
    ("llama", "rope_base", 1e5),
  ],
)
def test_ltu_refuses_what_would_be_silently_wrong(part, field, value):
  sizes = dataclasses.replace(getattr(LtuConfig(), part), **{field: value})
  wrong, notes = formats.check_published(LtuConfig(**{part: sizes}))
  assert len(wrong) == 1 and not notes
  assert wrong[0].startswith(f"{part}.{field} is {value} (published: ")


def test_a_model_that_is_refused_is_not_written(tmp_path):
  cfg = model_config(rope_base=1e5)
  tensors = published_tensors(random_model(cfg))
  with pytest.raises(ConversionError, match=r"llama\.rope_base is 100000"):
    formats.export_ltu(tmp_path / "x.safetensors", tensors, cfg)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  "sizes",
  [
    {"depth": 6},
    {"heads": 8},
    # As many patches, in another order.
    {"num_frames": 2048, "num_mels": 64},
  ],
)
def test_ltu_refuses_sizes_that_do_not_show_in_a_shape(sizes):
  encoder = EncoderConfig(**sizes)
  wrong, notes = formats.check_published(LtuConfig(encoder=encoder))
  assert len(wrong) == len(sizes) and not notes
  # Where shapes differ, loading fails there, and it is said what to change.
  encoder = dataclasses.replace(encoder, dim=384)
  wrong, notes = formats.check_published(LtuConfig(encoder=encoder))
  assert not wrong and len(notes) == 1
  assert all(
    f"encoder.{field} is {n}" in notes[0] for field, n in sizes.items()
  )


def test_every_tensor_that_does_not_fit_is_named(tmp_path):
  cfg = model_config()
  tensors = published_tensors(random_model(cfg))
  del tensors["model.norm.weight"]
  tensors["lm_head.weight"] = of_array(np.ones((3, 4), "f4"), "FILE: head")
  tensors["more.weight"] = of_array(np.ones(2, "f4"), "FILE: more")
  for export in (
    lambda path: formats.export_ltu(path, tensors, cfg),
    lambda path: formats.export_peft(path, tensors, cfg),
    lambda path: formats.export_hf(path, tensors, cfg, TOKENIZER),
  ):
    with pytest.raises(ConversionError) as error:
      export(tmp_path / "x.bin")
    lines = str(error.value).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
      ["mis-shaped", "lm_head.weight"],
      ["missing", "model.norm.weight"],
      ["unexpected", "more.weight"],
    ]
  assert list(tmp_path.iterdir()) == []


def test_targets_that_exist_and_endings(tmp_path):
  cfg = model_config()
  tensors = published_tensors(random_model(cfg))
  with pytest.raises(ConversionError, match="must end in"):
    formats.export_ltu(tmp_path / "x.npz", tensors, cfg)
  with pytest.raises(ConversionError, match="exists and is not written over"):
    formats.export_hf(tmp_path, tensors, cfg, TOKENIZER)
  with pytest.raises(ConversionError, match="exists and is not written over"):
    formats.export_peft(tmp_path, tensors, cfg)
  assert list(tmp_path.iterdir()) == []
