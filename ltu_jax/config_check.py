"""Finds what is wrong with a config, all at once, before anything is compiled.

Field by field in config_fields.py; here what fields have to do with each other,
with the devices, and with files. config_check_data.py goes on with the data.
"""

import collections
import functools
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh

from ltu_jax import base, config_fields, profiling
from ltu_jax import config as config_lib
from ltu_jax.audio.fbank import NUM_MELS
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config import ConfigError
from ltu_jax.config_fields import Found
from ltu_jax.curriculum import Stage
from ltu_jax.data import buckets
from ltu_jax.models.ltu import abstract
from ltu_jax.sharding import Misfit, ShardingError, make_mesh, misfits
from ltu_jax.train_state import PartitionError, split_params

# Tracing a model takes a second.
_abstract = functools.lru_cache(maxsize=4)(abstract)

SIZES = {
  "vocab": "llama.vocab",
  "embed": "llama.dim",
  "heads": "llama.heads",
  "kv_heads": "llama.kv_heads",
  "mlp": "llama.mlp_dim",
  "audio_embed": "encoder.dim",
  "audio_heads": "encoder.heads",
  "audio_mlp": "encoder.mlp_ratio",
}
"""Logical axis that the mesh cuts -> the field of config.model that it is."""


def check(config: Any, num_devices: int) -> None:
  """Checks all that can be known of a config without its data.

  Args:
    config: the run's config; nothing is taken for granted about it.
    num_devices: how many of JAX's devices the run has.

  Raises:
    ConfigError: a line for each problem; each names its field.
  """
  found = config_fields.read(config)
  _check_files(found)
  mesh = _mesh(found, num_devices)
  _check_batch(found, mesh)
  _check_rows(found, mesh)
  _check_stages(found)
  _check_profile(found)
  _check_model(found, mesh)
  if lines := found.lines():
    raise ConfigError("\n".join(lines))


def _check_files(found: Found) -> None:
  """The tokenizer's file and the base folder."""
  model = found.values.get("tokenizer.model")
  if model and not pathlib.Path(model).is_file():
    found.spoil("tokenizer.model", f": no file {config_fields.shown(model)}")
  path = found.values.get("base")
  if path:
    try:
      base.info(path)
    except (CheckpointError, OSError) as error:
      found.spoil("base", f": {error}")


def _mesh(found: Found, num_devices: int) -> Mesh | None:
  """The mesh, where it is right."""
  if not found.right("mesh"):
    return None
  try:
    return make_mesh(found.group("mesh"), jax.devices()[:num_devices])
  except ShardingError as error:  # "mesh {...} needs ..."
    found.problems.append(("mesh", f"config.{error}"))
    return None


def _check_batch(found: Found, mesh: Mesh | None) -> None:
  """Whether micro-batches divide the batch, and the mesh divides them."""
  if not found.right("data.batch_size", "data.micro_batches"):
    return
  size = found.values["data.batch_size"]
  parts = found.values["data.micro_batches"]
  if size % parts:
    found.add(
      "data.batch_size",
      f" {size} is no multiple of config.data.micro_batches {parts}",
    )
  elif mesh is not None:
    rows = size // parts
    places = mesh.shape["data"] * mesh.shape["fsdp"]
    if rows % places:
      found.add(
        "data.batch_size",
        f": a micro-batch of {rows} rows cannot be cut over the {places} "
        "data-parallel parts of the mesh; change config.data.batch_size, "
        "config.data.micro_batches or config.mesh",
      )


def _check_rows(found: Found, mesh: Mesh | None) -> None:
  """Whether rows have room for questions, and the mesh divides all batches."""
  if not found.right("data"):
    return
  data = found.group("data")
  stages = found.group("stages")
  limits = {
    f"stages.{name}.max_tokens": values["max_tokens"]
    for name, values in stages.items()
    if values.get("max_tokens")
  }
  if len(limits) < len(stages):
    limits["data.max_tokens"] = data["max_tokens"]
  room = data["row_tokens"]
  if room and data["questions_per_row"] == 1:
    found.add(
      "data.row_tokens",
      f" is {room}, but config.data.questions_per_row is 1: such rows have"
      " config.data.max_tokens; set it to 0, or allow more questions",
    )
  elif room:
    for field, most in limits.items():
      if room < most:
        words = f" is {room}, too few for a question of config.{field} {most}"
        found.add("data.row_tokens", words)
  if mesh is None or data["batch_size"] % data["micro_batches"]:
    return
  places = mesh.shape["data"] * mesh.shape["fsdp"] * data["micro_batches"]
  if data["batch_size"] % places:
    return  # _check_batch tells of it
  wrong = {
    shape.tokens: shape.rows
    for most in limits.values()
    for shape in buckets.shapes_of(data, most)
    if shape.rows % places
  }
  for tokens, rows in wrong.items():
    found.add(
      "data.length_buckets",
      f": batches of {tokens} tokens have {rows} rows, which cannot be cut into"
      f" {places} parts (micro-batches, and data-parallel parts of the mesh);"
      " leave that width out, or change config.data.batch_size",
    )


def _check_stages(found: Found) -> None:
  """Each stage by itself, and their numbers."""
  stages = found.group("stages")
  numbers = sorted(v["number"] for v in stages.values() if "number" in v)
  # A stage that is not right may be the one that there has to be.
  is_empty = not numbers and found.right("stages")
  if is_empty or len(set(numbers)) < len(numbers):
    found.add(
      "stages",
      ": need at least one stage, each with its own number; numbers are "
      f"{numbers}",
    )
  for name, values in stages.items():
    path = f"stages.{name}"
    for pattern in values.get("trainable", ()):
      try:
        re.compile(pattern)
      except re.error as error:
        words = f": {config_fields.shown(pattern)} is no regex ({error})"
        found.spoil(f"{path}.trainable", words)
    if found.right(path) and (stage := _stage(values)).steps:
      for field, words in stage.problems(0, 1):
        found.add(f"{path}.{field}", words)


def _check_profile(found: Found) -> None:
  """Whether the stage that is to be traced is there, and has the steps."""
  if not found.right("profile", "stages"):
    return
  profile = found.group("profile")
  wanted, number = profiling.parse(profile["steps"]), profile["stage"]
  stages = [_stage(values) for values in found.group("stages").values()]
  numbers = sorted(stage.number for stage in stages)
  if wanted is None or not stages:
    return
  if number not in (-1, *numbers):
    found.add(
      "profile.stage",
      f" is {number}; the stages are {numbers}; -1 is the first that trains",
    )
  for stage in stages:
    last = stage.handoff_step or stage.steps
    if stage.number == number and last and last < wanted[0]:
      found.add(
        "profile.steps",
        f" is {profile['steps']}; stage {number} ends with step {last}",
      )


def _stage(values: dict[str, Any]) -> Stage:
  """A stage whose fields are all right."""
  return config_lib.stages({"stages": {"": values}})[0]


def _check_model(found: Found, mesh: Mesh | None) -> None:
  """Whether sizes go together, with the mesh, and with what stages train."""
  if not found.right("model", "base"):
    return
  parts = _sizes(found)
  if problems := _size_problems(parts):
    for path, words in problems:
      found.add(path, words)
    return
  try:
    cfg = config_lib.model_config({"model": parts})
    _, params = _abstract(cfg)
  except ValueError as error:  # such as "config.model.lora: targets ..."
    words = str(error).removeprefix("config.model.")
    found.problems.append(("model", f"config.model.{words}"))
    return
  if mesh is not None:
    _check_mesh(found, misfits(params, mesh))
  for name in found.group("stages"):
    path = f"stages.{name}"
    if not found.right(f"{path}.trainable"):
      continue
    try:
      split_params(params, found.values[f"{path}.trainable"])
    except PartitionError as error:  # "trainable: no parameter matches ..."
      found.problems.append((f"{path}.trainable", f"config.{path}.{error}"))


def _sizes(found: Found) -> dict[str, dict[str, Any]]:
  """The parts' sizes: those of the base folder, where it has them."""
  config = ml_collections.ConfigDict({"model": found.group("model")})
  if found.values["base"]:
    config_lib.adopt(config, base.info(found.values["base"]).parts)
  return config.to_dict()["model"]


def _size_problems(parts: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
  """What the model's code finds one by one, or only while it is compiled."""
  encoder, llama = parts["encoder"], parts["llama"]
  multiples = [
    ("encoder.num_mels", "encoder.patch_mels"),
    ("encoder.num_frames", "encoder.patch_frames"),
    ("encoder.dim", "encoder.heads"),
    ("llama.heads", "llama.kv_heads"),
  ]
  if not llama["head_dim"]:
    multiples.append(("llama.dim", "llama.heads"))
  problems = []
  for whole, part in multiples:
    sizes = [parts[a][b] for a, b in (whole.split("."), part.split("."))]
    if sizes[0] % sizes[1]:
      words = f" is {sizes[0]}, no multiple of config.model.{part} {sizes[1]}"
      problems.append((f"model.{whole}", words))
  if encoder["dim"] % 4:
    problems.append(("model.encoder.dim", " must be a multiple of 4"))
  if encoder["num_mels"] != NUM_MELS:
    words = f" is {encoder['num_mels']}; filter banks have {NUM_MELS}"
    problems.append(("model.encoder.num_mels", words))
  steps = encoder["num_frames"] // encoder["patch_frames"]
  pool = parts["projector"]["time_pool"]
  if steps % pool or not steps:
    words = (
      f" is {pool}, which does not divide the encoder's {steps} time steps"
    )
    problems.append(("model.projector.time_pool", words))
  if (llama["head_dim"] or llama["dim"] // llama["heads"]) % 2:
    name = "head_dim" if llama["head_dim"] else "dim"
    problems.append((f"model.llama.{name}", ": a head's width must be even"))
  return problems


def _check_mesh(found: Found, wrong: Sequence[Misfit]) -> None:
  """A line for each size that the mesh cannot divide, with all parameters."""
  sizes = collections.defaultdict(list)
  for misfit in wrong:
    key = (misfit.axis, misfit.size, misfit.mesh_axes, misfit.parts)
    sizes[key].append(misfit)
  for (axis, size, mesh_axes, parts), same in sizes.items():
    axes = " * ".join(f"config.mesh.{name}" for name in mesh_axes)
    found.add(
      f"model.{SIZES[axis]}",
      f": size {size} of {', '.join(m.name for m in same)} does not divide "
      f"into the {parts} parts of {axes}; this mesh of as many devices fits "
      f"the model: {same[0].fits}",
    )
