import math

import jax
import pytest

from configs import base, quickstart
from ltu_jax import config as config_lib
from ltu_jax import curriculum
from ltu_jax.config import ConfigError
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.optim import Schedule
from ltu_jax.train_state import split_params


def test_base_is_the_published_model_and_curriculum():
  config = base.get_config()
  assert config_lib.model_config(config) == LtuConfig()
  assert config_lib.stages(config) == curriculum.PUBLISHED


def test_every_pattern_of_the_configs_matches_something():
  for get_config in (base.get_config, quickstart.get_config):
    config = get_config()
    _, state = abstract(config_lib.model_config(config))
    for stage in config_lib.stages(config):
      trainable, _ = split_params(state, stage.trainable)
      assert jax.tree.leaves(trainable)


@pytest.mark.parametrize(
  "number, questions, want",
  [(1, 1_190_489, 9300), (2, 1_190_489, 9300), (4, 5_681_708, 22194)],
)
def test_published_steps_follow_from_the_epochs(number, questions, want):
  """ceil(epochs * (questions // 256)); stage 3's 7,492 is 7,491 by the rule."""
  epochs = {1: 2, 2: 2, 4: 1}[number]
  stage = curriculum.Stage(number, "", epochs=epochs)
  assert stage.num_steps(questions, 256) == want
  published = {s.number: s for s in curriculum.PUBLISHED}[number]
  assert published.num_steps(questions, 256) == want
  assert published.last_step(questions, 256) < want


def test_schedule_by_hand():
  schedule = Schedule(peak=1e-3, warmup=4, total=10)
  got = [float(schedule(step)) for step in range(12)]
  want = [0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0, 0]
  assert got == pytest.approx([1e-3 * x for x in want], rel=1e-6)


@pytest.mark.parametrize(
  "fields, questions, words",
  [
    ({}, 100, r"config\.stages\.stage2\.steps: 100 rows"),
    ({"steps": 50}, 1000, r"stage2\.warmup_steps is 100"),
    (
      {"steps": 200, "handoff_step": 201},
      1000,
      r"stage2\.handoff_step is 201",
    ),
  ],
)
def test_stage_that_cannot_run_names_its_field(fields, questions, words):
  stage = curriculum.Stage(2, "", **fields)
  with pytest.raises(curriculum.CurriculumError, match=words):
    stage.num_steps(questions, 256)


def test_a_stage_names_all_that_is_longer_than_itself():
  stage = curriculum.Stage(2, "", steps=5, warmup_steps=6, handoff_step=7)
  with pytest.raises(curriculum.CurriculumError) as told:
    stage.num_steps(0, 256)
  first, second = str(told.value).splitlines()
  assert "stage2.warmup_steps is 6" in first
  assert "stage2.handoff_step is 7" in second


def test_unknown_fields_are_named():
  config = base.get_config().to_dict()
  config["model"]["encoder"]["width"] = 3
  with pytest.raises(ConfigError, match=r"model\.encoder.*\['width'\].*dim"):
    config_lib.model_config(config)
  config["stages"]["stage1"]["rate"] = 3
  with pytest.raises(ConfigError, match=r"stages\.stage1.*rate"):
    config_lib.stages(config)


@pytest.mark.parametrize("broken", [None, 3, "x", []])
def test_a_group_that_is_not_there_is_named(broken):
  with pytest.raises(ConfigError, match=r"config\.stages: there is no such"):
    config_lib.stages({"stages": broken})
  with pytest.raises(ConfigError, match=r"config\.stages\.one: there is no"):
    config_lib.stages({"stages": {"one": broken}})
  with pytest.raises(ConfigError, match=r"config\.model\.encoder: there is no"):
    config_lib.model_config({"model": broken})
  with pytest.raises(ConfigError, match=r"config\.augment: there is no such"):
    config_lib.augment({})


def test_a_value_of_another_type_is_named():
  config = base.get_config()
  config.stages.stage1.tasks = (1,)
  with pytest.raises(ConfigError, match=r"stages\.stage1: .*tasks is \(1,\)"):
    config_lib.stages(config)
  config.model.llama.heads = 0
  with pytest.raises(ConfigError, match=r"model\.llama: .*heads is 0"):
    config_lib.model_config(config)


def test_stage_number_twice_is_refused():
  config = base.get_config()
  config.stages.stage2.number = 1
  with pytest.raises(ConfigError, match=r"\[1, 1, 3, 4\]"):
    config_lib.stages(config)


def test_differences_name_fields():
  got = config_lib.differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}})
  assert got == ["config.a.b: 1 -> 3"]


def test_quickstart_keeps_the_papers_tasks_and_parts():
  stages = {s.number: s for s in config_lib.stages(quickstart.get_config())}
  for published in curriculum.PUBLISHED:
    ours = stages[published.number]
    assert ours.tasks == published.tasks
    assert ours.trainable == published.trainable
    assert not math.isclose(ours.peak_lr, 0)


def test_a_tuple_is_no_change_from_the_list_of_a_written_config():
  old, new = {"tasks": ["caption"]}, {"tasks": ("caption",)}
  assert config_lib.differences(old, new) == []
  assert config_lib.differences(old, {"tasks": ("a", "b")}) == [
    "config.tasks: ['caption'] -> ['a', 'b']"
  ]


def test_what_a_stage_selects_can_be_set_on_the_command_line():
  # ml_collections takes tuples there, and no lists.
  config = base.get_config()
  for stage in config.stages.values():
    for name in ("tasks", "datasets", "trainable"):
      assert isinstance(stage[name], tuple)
