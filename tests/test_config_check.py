"""What is wrong with a config, found all at once and by name."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_collections
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import (
  base,
  curriculum,
  published,
  quickstart,
  stage1,
  stage2,
  stage3,
  stage4,
)
from ltu_jax import base as base_lib
from ltu_jax import config_check, sharding
from ltu_jax.config import ConfigError
from ltu_jax.config_rules import RULES
from ltu_jax.models.llama import LlamaConfig

ROOT = pathlib.Path(__file__).parent.parent


def valid() -> dict:
  """The quickstart, which eight devices can take, as plain dicts."""
  config = quickstart.get_config()
  config.mesh.fsdp, config.mesh.data = 4, 2
  config.data.batch_size = 16
  return config.to_dict()


def changed(changes: dict) -> dict:
  """`valid` with fields set; "a.b" is a path."""
  config = valid()
  for path, value in changes.items():
    *groups, name = path.split(".")
    group = config
    for part in groups:
      group = group[part]
    group[name] = value
  return config


def problems(config, num_devices=8) -> list[str]:
  with pytest.raises(ConfigError) as told:
    config_check.check(config, num_devices)
  return str(told.value).splitlines()


def test_configs_are_right():
  config_check.check(valid(), 8)
  config_check.check(ml_collections.ConfigDict(valid()), 8)
  config_check.check(base.get_config(), 8)
  config_check.check(quickstart.get_config(), 1)


def test_rows_need_room_for_the_questions_that_there_are():
  """Those of data.max_tokens are in no stage where each has its own number."""
  rows = {"data.questions_per_row": 2, "data.row_tokens": 60}
  stages = {f"stages.stage{n}.max_tokens": 50 for n in range(5)}
  config_check.check(changed(rows | stages), 8)
  stages["stages.stage2.max_tokens"] = 0  # data.max_tokens, 80
  (told,) = problems(changed(rows | stages))
  assert "config.data.max_tokens 80" in told


@pytest.mark.parametrize("variant", published.VARIANTS)
def test_variants_are_right(variant):
  for module in (curriculum, stage1, stage2, stage3, stage4):
    config_check.check(module.get_config(variant), 8)


@pytest.mark.parametrize(
  "changes, words",
  [
    # Names and types.
    ({"data.batchsize": 3}, ["data.batchsize is unknown", "batch_size?"]),
    ({"stages.stage1.peaklr": 3}, ["stage1.peaklr is unknown", "peak_lr?"]),
    (
      {"model.encoder.xyz": 3},
      ["encoder.xyz is unknown", "there are depth, dim"],
    ),
    ({"data.batch_size": "64"}, ["data.batch_size is '64'", "whole number"]),
    ({"data.batch_size": True}, ["data.batch_size is True", "whole number"]),
    ({"data.batch_size": 8.0}, ["data.batch_size is 8.0", "whole number"]),
    ({"data.prepare": 1}, ["data.prepare is 1", "True or False"]),
    ({"data.drop_audio": "0"}, ["data.drop_audio is '0'", "number"]),
    ({"data.dir": None}, ["data.dir is None", "a text"]),
    ({"data": None}, ["config.data is None", "batch_size"]),
    ({"augment": [1]}, ["config.augment is [1]", "mel_shift"]),
    ({"stages": ["stage1"]}, ["config.stages is ['stage1']", "stage1"]),
    ({"stages.stage1": 3}, ["config.stages.stage1 is 3", "trainable"]),
    ({"stages.stage1.tasks": "caption"}, ["stage1.tasks is 'caption'"]),
    ({"stages.stage1.tasks": (3,)}, ["stage1.tasks is (3,)", "texts"]),
    ({"model.lora.targets": 3}, ["model.lora.targets is 3"]),
    ({"stages.a b": 3}, ["config.stages: 'a b' cannot be the name"]),
    # Values.
    ({"seed": -1}, ["config.seed is -1"]),
    ({"log_every": 0}, ["config.log_every is 0", ">= 1"]),
    ({"keep_checkpoints": 0}, ["config.keep_checkpoints is 0"]),
    ({"data.max_tokens": 1}, ["config.data.max_tokens is 1", ">= 2"]),
    ({"data.max_unreadable": 2.0}, ["data.max_unreadable is 2.0", "in 0..1"]),
    ({"data.drop_audio": float("nan")}, ["data.drop_audio is nan", "0..1"]),
    ({"data.source": "x"}, ["data.source is 'x'", "tfds, synthetic"]),
    ({"optimizer.loss_norm": "x"}, ["loss_norm is 'x'", "tokens, micro_batch"]),
    ({"optimizer.loss_chunk": -1}, ["optimizer.loss_chunk is -1"]),
    ({"model.llama.dtype": "float23"}, ["llama.dtype is 'float23'", "bfloat"]),
    ({"model.encoder.dtype": "int8"}, ["encoder.dtype is 'int8'"]),
    ({"model.llama.remat": "some"}, ["llama.remat is 'some'", "none, dots"]),
    ({"model.llama.base_dtype": "x"}, ["base_dtype is 'x'", "int8, int4"]),
    ({"model.lora.dropout": 1}, ["model.lora.dropout is 1"]),
    ({"model.llama.kv_heads": 0}, ["model.llama.kv_heads is 0"]),
    ({"eval.batch_size": 0}, ["config.eval.batch_size is 0"]),
    ({"eval.stage_items": -1}, ["config.eval.stage_items is -1"]),
    ({"stages.stage1.peak_lr": -0.1}, ["stage1.peak_lr is -0.1"]),
    ({"stages.stage1.peak_lr": 10**400}, ["stage1.peak_lr is 1000"]),
    ({"stages.stage1.epochs": -1.0}, ["stage1.epochs is -1.0"]),
    ({"stages.stage1.steps": -1}, ["stage1.steps is -1"]),
    ({"stages.stage1.max_tokens": 1}, ["stage1.max_tokens is 1"]),
    # What does not go together.
    ({"data.micro_batches": 3}, ["data.batch_size 16", "micro_batches 3"]),
    ({"data.batch_size": 6}, ["6 rows", "8 data-parallel", "config.mesh"]),
    ({"stages.stage1.warmup_steps": 51}, ["stage1.warmup_steps is 51", "50"]),
    ({"stages.stage1.handoff_step": 51}, ["stage1.handoff_step is 51", "50"]),
    ({"stages.stage1.number": 2}, ["config.stages:", "[0, 2, 2, 3, 4]"]),
    ({"stages": {}}, ["config.stages:", "at least one", "[]"]),
    ({"stages.stage1.trainable": ()}, ["stage1.trainable", "empty list"]),
    ({"stages.stage1.trainable": ("^x/",)}, ["stage1.trainable", "^x/"]),
    ({"stages.stage1.trainable": ("(",)}, ["stage1.trainable", "no regex"]),
    (
      {
        "model.llama.base_dtype": "int8",
        "stages.stage1.trainable": ("/q_proj/w$",),
      },
      ["stage0.trainable", "base_dtype"],
    ),
    ({"model.llama.kv_heads": 3}, ["llama.heads is 4", "llama.kv_heads 3"]),
    ({"model.llama.head_dim": 33}, ["model.llama.head_dim", "even"]),
    ({"model.encoder.dim": 98, "mesh.fsdp": 1}, ["encoder.dim", "of 4"]),
    ({"model.encoder.num_mels": 64}, ["encoder.num_mels", "128"]),
    ({"model.encoder.patch_frames": 48}, ["num_frames", "patch_frames 48"]),
    ({"model.projector.time_pool": 3}, ["projector.time_pool is 3", "64"]),
    ({"model.lora.targets": ("x",)}, ["config.model.lora: targets ['x']"]),
    # The mesh.
    ({"mesh.fsdp": 3}, ["config.mesh", "6 devices, but there are 8"]),
    ({"mesh.fsdp": -1, "mesh.data": -1}, ["config.mesh", "only one axis"]),
    ({"mesh.fsdp": 0}, ["config.mesh.fsdp is 0"]),
    ({"mesh.modell": 1}, ["config.mesh.modell is unknown", "data, "]),
    # Files.
    ({"tokenizer.model": "no.model"}, ["tokenizer.model", "no.model"]),
    ({"tokenizer.model": "\0"}, ["config.tokenizer.model"]),
    ({"base": "nowhere"}, ["config.base: ", "nowhere"]),
    ({"base": "x" * 5000}, ["config.base: "]),
  ],
  ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_each_problem_names_its_field(changes, words):
  lines = problems(changed(changes))
  assert all(line.startswith("config.") for line in lines)
  for word in words:
    assert any(word in line for line in lines), lines


@pytest.mark.parametrize("path", ["data", "data.name", "stages.stage1.steps"])
def test_a_missing_field_is_named(path):
  config = valid()
  *groups, name = path.split(".")
  group = config
  for part in groups:
    group = group[part]
  del group[name]
  assert problems(config) == [f"config.{path} is missing"]


def test_a_mesh_axis_may_be_left_out():
  config = changed({"mesh": {"fsdp": 8}})
  config_check.check(config, 8)


def test_all_at_once_in_the_order_of_the_names():
  config = changed(
    {
      "data.batch_size": 0,
      "model.llama.width": 3,
      "model.lora.rank": None,
      "eval.final_items": -1,
      "stages.stage2.trainable": ("^encoder/", "^nothing/"),
      "stages.stage4.warmup_steps": 500,
      "stages.stage4.handoff_step": 500,
    }
  )
  del config["tokenizer"]["vocab_size"]
  assert [line.split(" ")[0].rstrip(":") for line in problems(config)] == [
    "config.data.batch_size",
    "config.eval.final_items",
    "config.model.llama.width",
    "config.model.lora.rank",
    "config.stages.stage4.handoff_step",
    "config.stages.stage4.warmup_steps",
    "config.tokenizer.vocab_size",
  ]
  # Only without sizes nothing can be said of parameters.
  config["model"]["lora"]["rank"] = 8
  assert any("stage2.trainable" in line for line in problems(config))


def test_every_parameter_that_the_mesh_cannot_divide_is_named():
  config = changed({"mesh": {"tensor": 8}})
  lines = problems(config)
  assert [line.split(":")[0] for line in lines] == [
    "config.model.encoder.heads",
    "config.model.llama.heads",
    "config.model.llama.kv_heads",
  ]
  for name in ("k_proj/w", "v_proj/w", "v_proj/lora_b"):
    assert f"llama/layers/{name}" in lines[2]
  assert "config.mesh.tensor" in lines[2] and "'tensor': 2" in lines[2]


def test_every_size_that_a_mesh_cuts_has_a_field():
  cut = {axis for axis, mesh_axes in sharding.RULES.items() if mesh_axes}
  assert cut - {"batch"} == config_check.SIZES.keys()


def test_every_rule_is_of_a_field():
  config = base.get_config().to_dict()
  config["stages"] = {"*": config["stages"]["stage1"]}

  def paths(group, prefix=""):
    for name, value in group.items():
      if isinstance(value, dict):
        yield from paths(value, f"{prefix}{name}.")
      else:
        yield prefix + name

  assert set(RULES) <= set(paths(config))


def test_sizes_are_those_of_the_base(tmp_path):
  """8 heads of the config do on this mesh; 3 of the base do not."""
  llama = LlamaConfig(vocab=8, dim=24, mlp_dim=8, layers=1, heads=3, kv_heads=3)
  params = {"llama": {"norm": {"scale": jax.numpy.ones(24)}}}
  base_lib.save(tmp_path / "base", params, {"llama": llama}, ["a test"])
  config = changed(
    {
      "base": str(tmp_path / "base"),
      "mesh": {"data": 4, "tensor": 2},
    }
  )
  assert [line.split(":")[0] for line in problems(config)] == [
    "config.model.llama.heads",
    "config.model.llama.kv_heads",
  ]


@pytest.mark.parametrize("config", [None, 3, "x", [], {}, {3: 4}, {"data": {}}])
def test_what_is_no_config(config):
  assert problems(config)


def test_placeholders_and_odd_names():
  config = ml_collections.ConfigDict(valid())
  config.seed = ml_collections.config_dict.required_placeholder(int)
  assert problems(config) == ["config.seed is missing"]
  config = valid()
  config["eval"] = ml_collections.ConfigDict({1: 2, "a": 3})
  assert all("config.eval" in line for line in problems(config))


def fields(config, path=()):
  """Paths of all fields and groups."""
  for name, value in config.items():
    yield (*path, name)
    if isinstance(value, dict):
      yield from fields(value, (*path, name))


# A stage and an axis of the mesh may go; any name is one of a stage.
MUTABLE = [
  path
  for path in fields(valid())
  if path[0] != "mesh" and not (path[0] == "stages" and len(path) == 2)
]

ODD = st.one_of(
  st.none(),
  st.sampled_from([float("nan"), b"x", {1, 2}, object(), jnp.float32, 3 + 4j]),
  st.lists(st.one_of(st.integers(), st.none()), min_size=1, max_size=2),
  st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(
  path=st.sampled_from(MUTABLE),
  kind=st.sampled_from(["delete", "rename", "retype"]),
  value=ODD,
  as_config_dict=st.booleans(),
)
def test_any_mutation_is_named(path, kind, value, as_config_dict):
  config = valid()
  group = config
  for name in path[:-1]:
    group = group[name]
  old, where = group[path[-1]], "config." + ".".join(path)
  if kind == "retype":
    if type(value) is type(old):
      value = None
    group[path[-1]] = value
  else:
    del group[path[-1]]
    if kind == "rename":
      group[path[-1] + "_x"] = old
  if as_config_dict and not isinstance(value, dict):
    config = ml_collections.ConfigDict(config)
  assert any(line.startswith(where) for line in problems(config))


ANY = st.one_of(
  st.integers(),
  st.integers(-1, 300),
  st.sampled_from([10**6, 2**31, 2**40, 10**400, 0.0, -0.0, float("inf")]),
  st.floats(),
  st.booleans(),
  st.text(max_size=8),
  st.lists(st.text(max_size=4), max_size=2).map(tuple),
  ODD,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*fields(valid())]), ANY, max_size=4))
def test_any_values_are_taken_or_refused(changes):
  """No other exception than a ConfigError, whatever stands where."""
  config = valid()
  for path, value in sorted(changes.items(), key=lambda x: len(x[0])):
    group = config
    for name in path[:-1]:
      group = group.get(name) if isinstance(group, dict) else None
    if isinstance(group, dict):
      group[path[-1]] = value
  try:
    config_check.check(config, 8)
  except ConfigError as error:
    assert all(x.startswith("config") for x in str(error).splitlines())


def test_five_errors_are_five_lines(tmp_path):
  """Of the command, with status 2; nothing is compiled or written."""
  (tmp_path / "wrong.py").write_text(
    "from configs import quickstart\n"
    "def get_config():\n"
    "  config = quickstart.get_config()\n"
    "  config.data.batch_size = 0\n"
    "  config.data.source = 'radio'\n"
    "  config.eval.batch_size = 0\n"
    "  config.stages.stage1.warmup_steps = 1000\n"
    "  config.stages.stage2.trainable = ('^projektor/',)\n"
    "  return config\n"
  )
  found = subprocess.run(
    [
      sys.executable,
      "-m",
      "ltu_jax.main",
      f"--config={tmp_path / 'wrong.py'}",
      f"--workdir={tmp_path / 'run'}",
    ],
    cwd=ROOT,
    env=os.environ | {"JAX_LOG_COMPILES": "1"},
    capture_output=True,
    text=True,
  )
  # Shapes are traced; no program is compiled.
  assert "ompil" not in found.stderr
  lines = found.stderr.splitlines()
  lines = [line for line in lines if "Finished tracing" not in line]
  assert found.returncode == 2 and len(lines) == 5, found.stderr
  assert lines[0].startswith("error: config.data.batch_size is 0")
  assert [line.split(" ")[0].rstrip(":") for line in lines[1:]] == [
    "config.data.source",
    "config.eval.batch_size",
    "config.stages.stage1.warmup_steps",
    "config.stages.stage2.trainable",
  ]
  assert found.stdout == f"config: {tmp_path / 'wrong.py'}\n"
  assert not (tmp_path / "run").exists()
