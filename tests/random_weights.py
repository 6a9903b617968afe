"""Models of drawn sizes, and random tensors for them, as a file has them."""

import numpy as np
from hypothesis import strategies as st

from ltu_jax.convert.cli import DTYPES
from ltu_jax.convert.from_torch import entries
from ltu_jax.convert.names import published_shape
from ltu_jax.convert.tensors import Source, of_array
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import PART_TYPES, LtuConfig

ALL = tuple(PART_TYPES)


def sizes(cfg, names=ALL):
  return {name: getattr(cfg, name) for name in names}


def random_source(cfg, names=ALL, seed=0):
  """Every tensor of a model with random bits, finite, of the model's dtypes."""
  rng = np.random.default_rng(seed)
  tensors = {}
  for entry in entries(cfg, names):
    shape = published_shape(entry.path, entry.shape, cfg.encoder)
    # Uniform over many exponents; bf16 and float16 have fewer than float32.
    array = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3, shape)
    tensors[entry.name] = of_array(array.astype(entry.dtype))
  return Source(tensors, sizes(cfg, names))


def same(tensors, wanted):
  """Asserts equal names, shapes, dtypes and bits."""
  assert tensors.keys() == wanted.keys()
  for name, tensor in tensors.items():
    got, want = tensor.read(), wanted[name].read()
    assert got.shape == want.shape == tensor.shape, name
    assert got.dtype == want.dtype == tensor.dtype, name
    assert got.tobytes() == want.tobytes(), name


@st.composite
def models(draw):
  """Sizes of all kinds, small."""
  pick = lambda *values: draw(st.sampled_from(values))
  kv, group, heads = pick(1, 2), pick(1, 3), pick(1, 2)
  patch = pick(16, 8)
  encoder = EncoderConfig(
    dim=4 * heads * pick(1, 3),
    depth=pick(1, 3),
    heads=heads,
    mlp_ratio=pick(2, 3),
    patch_mels=pick(16, 128),
    patch_frames=patch,
    prefix_tokens=pick(0, 2),
  )
  llama = LlamaConfig(
    vocab=pick(7, 12),
    dim=kv * group * pick(2, 4),
    mlp_dim=pick(5, 8),
    layers=pick(1, 2, 3),
    heads=kv * group,
    kv_heads=kv,
    head_dim=pick(2, 4),
    tied=pick(True, False),
    param_dtype=pick(*DTYPES),
  )
  projections = ("q_proj", "v_proj", "o_proj", "down_proj")
  targets = draw(st.sets(st.sampled_from(projections), min_size=1))
  lora = LoraConfig(rank=pick(1, 3), alpha=8.0, targets=tuple(sorted(targets)))
  return LtuConfig(encoder, llama=llama, lora=lora)
