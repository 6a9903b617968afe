"""The configs of the published stages, in every size."""

import dataclasses

import jax
import pytest

from configs import (
  curriculum,
  finetune,
  published,
  stage1,
  stage2,
  stage3,
  stage4,
)
from ltu_jax import config as config_lib
from ltu_jax import config_check
from ltu_jax.curriculum import PUBLISHED
from ltu_jax.data import buckets
from ltu_jax.models.llama import LLAMA_13B, SMOLLM2_135M
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import abstract_params, split_params

ALONE = (stage1, stage2, stage3, stage4)

SIZES = {
  "7b": LtuConfig(),
  "13b": LtuConfig(llama=LLAMA_13B),
  "smollm2": LtuConfig(llama=SMOLLM2_135M),
}


@pytest.mark.parametrize("variant", SIZES)
def test_variants_are_the_published_stages_and_sizes(variant):
  whole = curriculum.get_config(variant)
  assert config_lib.stages(whole) == PUBLISHED
  assert config_lib.model_config(whole) == SIZES[variant]
  for module, stage in zip(ALONE, PUBLISHED, strict=True):
    config = module.get_config(variant)
    assert config_lib.stages(config) == (stage,)
    assert config.data.name == "openaqa/full"
    assert config.model == whole.model


@pytest.mark.parametrize("name", ["7b", "13b", "smollm2"])
def test_packed_the_model_and_the_stages_are_as_published(name):
  config = stage4.get_config(f"{name}-packed")
  assert config_lib.model_config(config) == SIZES[name]
  assert config_lib.stages(config) == PUBLISHED[3:]
  found = buckets.shapes_of(config.data, config.data.max_tokens)
  assert found == [
    buckets.Shape(320, 108),
    buckets.Shape(160, 216),
    buckets.Shape(80, 432),
  ]
  for chips in (4, 8, 16):
    assert not any(shape.rows % chips for shape in found)


def test_the_default_is_7b():
  for module in (*ALONE, curriculum):
    assert module.get_config() == module.get_config("7b")


@pytest.mark.parametrize("variant", published.VARIANTS)
def test_every_variant_lies_on_a_mesh(variant):
  mesh = make_mesh({"fsdp": 8})
  config = curriculum.get_config(variant)
  config_check.check(config, 8)
  params = abstract_params(config_lib.model_config(config), mesh)
  for stage in config_lib.stages(config):
    assert jax.tree.leaves(split_params(params, stage.trainable)[0])


@pytest.mark.parametrize("variant", finetune.VARIANTS)
def test_fine_tuning_trains_what_the_base_lacks(variant):
  config = finetune.get_config(variant)
  config_check.check(config, 8)
  stages = config_lib.stages(config)
  assert [s.number for s in stages] == ([1, 4] if variant == "join" else [4])
  assert not any(
    stage.tasks for stage in stages
  )  # all questions that are there
  params = abstract(config_lib.model_config(config))[1]
  frozen = split_params(params, stages[-1].trainable)[1]
  assert bool(jax.tree.leaves(frozen)) == (variant != "whole")
  with pytest.raises(finetune.VariantError, match="no such variant"):
    finetune.get_config("half")


def test_tiny_keeps_what_stages_train_and_ask():
  stages = config_lib.stages(curriculum.get_config("tiny"))
  short = dict(steps=3, warmup_steps=1, handoff_step=0)
  assert stages == tuple(dataclasses.replace(s, **short) for s in PUBLISHED)
