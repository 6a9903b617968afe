"""What the fields of a config may be."""

import pytest

from ltu_jax.audio.augment import Augment
from ltu_jax.curriculum import Stage
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LLAMA_13B, LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.projector import ProjectorConfig


@pytest.mark.parametrize(
  ("cls", "fields", "words"),
  [
    (EncoderConfig, {"dim": "768"}, r"dim is '768', not a whole number"),
    (EncoderConfig, {"norm_eps": 10**400}, "norm_eps is 1000.*, not a number"),
    (EncoderConfig, {"norm_eps": float("nan")}, "norm_eps is nan, not a num"),
    (EncoderConfig, {"patch_mels": 0}, "patch_mels is 0, not 1 to"),
    (EncoderConfig, {"depth": 10**12}, "depth is 1000000000000, not a whole"),
    (EncoderConfig, {"dim": 64, "heads": 3}, "dim=64 is no multiple of"),
    (EncoderConfig, {"dim": 1.0, "heads": -1}, r"dim is 1.0.*; heads is -1"),
    (LlamaConfig, {"kv_heads": 0}, "kv_heads is 0"),
    (LlamaConfig, {"layers": 5000}, "layers is 5000, not 1 to 1024"),
    (LlamaConfig, {"tied": 1}, "tied is 1, not true or false"),
    (LlamaConfig, {"norm_eps": float("nan")}, "norm_eps is nan, not a number"),
    (LoraConfig, {"targets": (1,)}, r"targets is \(1,\), not texts"),
    (LoraConfig, {"rank": True}, "rank is True"),
    (ProjectorConfig, {"time_pool": 0}, "time_pool is 0"),
    (Augment, {"filter_db": None}, "filter_db is None, not a number"),
    (Stage, {"number": 1, "name": None}, "name is None, not a text"),
  ],
)
def test_a_value_that_cannot_be_is_named(cls, fields, words):
  with pytest.raises(ValueError, match=words):
    cls(**fields)


def test_published_sizes_and_whole_numbers_for_others_are_fine():
  assert LLAMA_13B.layers == 40
  assert LoraConfig(alpha=16).alpha == 16
