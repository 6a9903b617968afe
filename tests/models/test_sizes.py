"""Parameter counts at full size, by shapes alone."""

import math

import pytest
from flax import nnx

from ltu_jax.models.llama import LLAMA_13B, SMOLLM2_135M
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import path_name
from ltu_jax.train_state import split_params

# The published encoder blocks carry six LayerNorms of 768 and use two.
UNUSED_NORMS = 12 * 4 * 2 * 768


def count(state, *parts: str) -> int:
  return sum(
    math.prod(variable.get_value().shape)
    for path, variable in nnx.to_flat_state(state)
    if not parts or any(p in path_name(path) for p in parts)
  )


def test_published_7b():
  _, state = abstract(LtuConfig())
  lora = count(state, "lora_")
  assert lora == 4_194_304
  assert count(state, "llama/") - lora == 6_738_415_616
  assert count(state, "projector/") == 3_149_824
  assert count(state, "encoder/") + UNUSED_NORMS == 85_721_088
  stage2, _ = split_params(state, ("^encoder/", "^projector/", "lora_"))
  assert count(stage2) + UNUSED_NORMS == 93_065_216
  assert count(state) + UNUSED_NORMS == 6_831_480_832


def test_llama_13b():
  # 13,015,864,320 is the sum over the published LLaMA-13B shapes:
  # 40 * (4 * 5120^2 + 3 * 5120 * 13824 + 2 * 5120) + 2 * 32000 * 5120 + 5120.
  _, state = abstract(LtuConfig(llama=LLAMA_13B, lora=LoraConfig(rank=0)))
  assert count(state, "llama/") == 13_015_864_320


def test_smollm2():
  # The published model card's 134,515,008; by the shapes: 49152 * 576 +
  # 30 * (2 * 576^2 + 2 * 576 * 192 + 3 * 576 * 1536 + 2 * 576) + 576.
  _, state = abstract(LtuConfig(llama=SMOLLM2_135M, lora=LoraConfig(rank=0)))
  assert count(state, "llama/") == 134_515_008


@pytest.mark.parametrize("rank", [0, 4])
def test_rank_zero_has_no_adapters(rank):
  _, state = abstract(LtuConfig(lora=LoraConfig(rank=rank)))
  assert (count(state, "lora_") > 0) == (rank > 0)
