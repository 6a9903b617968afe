"""Every format out and in again: the same bits, over drawn sizes."""

import dataclasses
import pathlib
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from ltu_jax.convert import formats
from ltu_jax.convert.llama import read_llama
from ltu_jax.convert.names import carried_defaults, part_of_name
from ltu_jax.convert.peft import read_peft
from ltu_jax.convert.published import read_published
from ltu_jax.convert.tensors import of_array
from ltu_jax.models.llama import LlamaConfig
from random_weights import models, random_source, same


def of_parts(tensors, *parts):
  return {k: v for k, v in tensors.items() if part_of_name(k) in parts}


def shown(llama):
  """The decoder's sizes that a config.json says."""
  run = ("remat", "dtype", "param_dtype")
  default = {name: getattr(LlamaConfig(), name) for name in run}
  return dataclasses.replace(llama, **default)


@given(cfg=models(), suffix=st.sampled_from(["bin", "safetensors"]))
@settings(max_examples=15, deadline=None)
def test_published(cfg, suffix):
  # What the published code cannot have: see published_limits.py.
  cfg = dataclasses.replace(
    cfg,
    encoder=dataclasses.replace(cfg.encoder, prefix_tokens=0),
    llama=dataclasses.replace(cfg.llama, tied=False),
  )
  tensors = random_source(cfg).tensors
  carried = {
    name: of_array(array + 1)
    for name, array in carried_defaults(cfg.encoder, cfg.llama).items()
  }
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / f"ltu.{suffix}"
    formats.export_ltu(path, tensors, cfg, carried, all_weights=True)
    found = read_published(path, cfg.llama)
    same(found.tensors, tensors)
    same(found.carried, carried)
    assert found.parts["llama"] == cfg.llama
    assert found.parts["lora"].rank == cfg.lora.rank
    assert set(found.parts["lora"].targets) == set(cfg.lora.targets)
    heads = {"heads": cfg.encoder.heads}  # not in the file
    encoder = dataclasses.replace(found.parts["encoder"], **heads)
    assert encoder == cfg.encoder

    part = pathlib.Path(folder) / f"part.{suffix}"
    formats.export_ltu(part, tensors, cfg, carried)
    found = read_published(part)
    same(found.tensors, of_parts(tensors, "encoder", "projector", "lora"))
    same(found.carried, of_parts(carried, "encoder"))


@given(cfg=models())
@settings(max_examples=15, deadline=None)
def test_peft_and_hugging_face(cfg):
  tensors = random_source(cfg).tensors
  with tempfile.TemporaryDirectory() as folder:
    formats.export_peft(f"{folder}/peft", tensors, cfg)
    formats.export_hf(f"{folder}/hf", tensors, cfg, None, merge=False)
    adapters = read_peft(f"{folder}/peft")
    same(adapters.tensors, of_parts(tensors, "encoder", "projector", "lora"))
    assert adapters.parts["encoder"] == cfg.encoder
    assert adapters.parts["projector"] == cfg.projector
    lora = adapters.parts["lora"]
    assert dataclasses.replace(lora, targets=cfg.lora.targets) == cfg.lora
    assert set(lora.targets) == set(cfg.lora.targets)
    decoder = read_llama(f"{folder}/hf")
    same(decoder.tensors, of_parts(tensors, "llama"))
    assert shown(decoder.parts["llama"]) == shown(cfg.llama)
