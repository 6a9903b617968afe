"""The folder of a run: what lies where, and how a model is put together.

WORKDIR/config.json         the config, as run
WORKDIR/tokenizer.*         the tokenizer
WORKDIR/pretrained          link to the base folder of config.base, if any;
                            in a bucket pretrained.txt, with its address
WORKDIR/base                start weights that were drawn, saved once
WORKDIR/checkpoints/stageN  the trainable part of stage N, per step
WORKDIR/unreadable.jsonl    clips that were skipped, if any
WORKDIR/metrics.jsonl, times, profile, tensorboard, report.*, curves.png

A model is what was drawn and the pretrained parts, with the trained part of
each stage laid over them in order (trained.py).

A folder in a bucket has the same (bucket_scratch.py says how it gets there).
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Collection, Mapping
from typing import Any

import jax
import ml_collections
from flax import nnx
from jax.sharding import Mesh

from ltu_jax import base, base_load, bucket_store, json_text
from ltu_jax import config as config_lib
from ltu_jax.base import BaseInfo, info
from ltu_jax.bucket_scratch import Scratch
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.checkpoint_aside import MARK
from ltu_jax.curriculum import Stage
from ltu_jax.data.bucket import is_bucket
from ltu_jax.data.tokenizer import Tokenizer, load_tokenizer
from ltu_jax.models.ltu import PART_TYPES, LtuConfig, part_of
from ltu_jax.sharding import path_name
from ltu_jax.train_state import (
  abstract_params,
  init_params,
  overlay,
  split_parts,
)

_FREE = (
  "log_every",
  "checkpoint_every",
  "keep_checkpoints",
  "keep_every",
  "keep_best",
  "keep_best_metric",
  "eval",
  "mesh",
  "debug",
  "profile",
  "guard.max_in_row",
  # What lies there is compared, wherever it lies.
  "data.dir",
  "data.max_unreadable",
  "data.num_threads",
)
"""Fields that may change when a run goes on, as it learns the same."""


@dataclasses.dataclass(frozen=True)
class Workdir:
  """Paths of a run.

  Attributes:
    root: the folder; of a run in a bucket, where its small files are here.
    scratch: what keeps these the same as those in the bucket.
  """

  root: pathlib.Path
  scratch: Scratch | None = None

  @classmethod
  def at(cls, folder: str | os.PathLike) -> "Workdir":
    """The paths of a folder of this machine, or of one in a bucket.

    Raises:
      BucketError: the bucket cannot be read.
    """
    bucket_store.path(folder)  # of another kind?
    if not is_bucket(folder):
      return cls(pathlib.Path(folder))
    scratch = Scratch(folder, is_first=jax.process_index() == 0)
    return cls(scratch.folder, scratch)

  @property
  def home(self) -> Any:
    """The folder itself: a pathlib.Path, or an epath.Path of a bucket."""
    if self.scratch is None:
      return self.root
    return bucket_store.path(self.scratch.store.address)

  def pull(self) -> None:
    """Sees what other processes have written.

    Raises:
      BucketError: the bucket cannot be read.
    """
    if self.scratch is not None:
      self.scratch.pull()

  def push(self) -> str:
    """Lets other processes, and later starts, see what was written.

    Returns:
      Why they do not see all of it; "" if they do.
    """
    return "" if self.scratch is None else self.scratch.push()

  def pushing(self) -> contextlib.AbstractContextManager[None]:
    """Does so from time to time during a block, and at its end."""
    if self.scratch is None:
      return contextlib.nullcontext()
    return self.scratch.pushing()

  def _push_all(self) -> None:
    """Raises CheckpointError if something cannot be pushed."""
    if problem := self.push():
      raise CheckpointError(problem)

  @property
  def config(self) -> pathlib.Path:
    """The config, as JSON."""
    return self.root / "config.json"

  @property
  def base(self) -> Any:
    """Base folder (base.py) of the start weights that were drawn."""
    return self.home / "base"

  @property
  def pretrained(self) -> Any:
    """The base folder that the run was given, or a link to it; None if none."""
    link, name = self.root / "pretrained", self.root / "pretrained.txt"
    if name.exists():
      return bucket_store.path(name.read_text(encoding="utf-8").strip())
    return link if link.is_symlink() or link.exists() else None

  def record_pretrained(self, folder: str) -> None:
    """Keeps which base folder the run was given, if it does not know one.

    To be called by all `in_turn`.
    """
    if self.pretrained is not None:
      return
    folder = bucket_store.path(folder)
    if self.scratch is None and not is_bucket(folder):
      (self.root / "pretrained").symlink_to(folder)
      return
    text = f"{folder}\n"
    (self.root / "pretrained.txt").write_text(text, encoding="utf-8")
    if not jax.process_index():
      self._push_all()

  def bases(self) -> dict[Any, BaseInfo]:
    """The base folders of the run that are there, with what they hold.

    Raises:
      CheckpointError: one is damaged, or the pretrained one has gone.
    """
    folders = [f for f in [self.pretrained] if f is not None]
    if base.is_there(self.base):
      folders.append(self.base)
    return {f: info(f) for f in folders}

  def checkpoints(self, stage: Stage) -> Any:
    """The folder of a stage's checkpoints."""
    return self.home / "checkpoints" / f"stage{stage.number}"

  def trained_stages(self, config: Mapping[str, Any]) -> list[Stage]:
    """The stages of a config that have a checkpoint, in order.

    Raises:
      CheckpointError: none has.
    """

    def has_weights(stage: Stage) -> bool:
      folder = self.checkpoints(stage)
      found = folder.glob("*")
      if self.scratch is not None:
        found = (path.parent for path in folder.glob(f"*/{MARK}"))
      return any(path.name.isdigit() for path in found)

    trained = [s for s in config_lib.stages(config) if has_weights(s)]
    if not trained:
      raise CheckpointError(
        f"{self.home}: no stage has a checkpoint yet. Go on training with: "
        f"python -m ltu_jax.main --config=... --workdir={self.home}"
      )
    return trained

  def load_tokenizer(self) -> Tokenizer:
    """Loads the run's tokenizer.

    Raises:
      CheckpointError: there is none, or it cannot be used.
    """
    try:
      tokenizer = load_tokenizer(self.root)
    except ValueError as error:
      raise CheckpointError(str(error)) from error
    if tokenizer is None:
      raise CheckpointError(f"{self.home}: the run's tokenizer is missing.")
    return tokenizer

  def check_config(
    self, config: ml_collections.ConfigDict, allow: Collection[str] = ()
  ) -> None:
    """Checks that a run that was started here had this config.

    Args:
      config: the config.
      allow: fields, such as `data` or `data.batch_size`, that may differ.

    Raises:
      ConfigError: the folder is of a run with another config; names each
        field that differs.
    """
    if not self.config.exists():
      return
    old, new = self.read_config(), json.loads(config.to_json())
    # A line is "config.a.b: 1 -> 2"; a field may have others below it.
    free = [f"config.{name}{end}" for name in (*_FREE, *allow) for end in ":."]
    lines = config_lib.differences(old, new)
    if lines := [line for line in lines if not line.startswith(tuple(free))]:
      names = [x.partition(":")[0].removeprefix("config.") for x in lines]
      raise config_lib.ConfigError(
        f"{self.home} is of a run with another config:\n  "
        + "\n  ".join(lines)
        + "\nSet these back, or choose another --workdir; or go on all the same"
        f" with --allow={','.join(names)}"
      )

  def record_config(self, config: ml_collections.ConfigDict) -> None:
    """Writes the config; makes the folder. To be called by all `in_turn`.

    Raises:
      ConfigError: another process wrote it and this one does not see it.
    """
    if jax.process_index():
      self.pull()
      if not self.config.exists():
        raise config_lib.ConfigError(
          f"{self.config}, which process 0 wrote, is not to be seen by process"
          f" {jax.process_index()}; --workdir must be on a disk that all"
          " processes share"
        )
      return
    self.root.mkdir(parents=True, exist_ok=True)
    fresh = self.config.with_suffix(".tmp")
    fresh.write_text(json.dumps(json.loads(config.to_json()), indent=2) + "\n")
    fresh.replace(self.config)
    self._push_all()

  def record_tokenizer(self, tokenizer: Tokenizer | None) -> Tokenizer | None:
    """Writes the tokenizer, if there is none. To be called by all `in_turn`.

    Args:
      tokenizer: the first process's; None elsewhere, and where nothing is text.

    Returns:
      The run's, the same in all processes; None where nothing is text.
    """
    if jax.process_index():
      self.pull()
    if tokenizer is not None and load_tokenizer(self.root) is None:
      with tempfile.TemporaryDirectory(".tmp", dir=self.root) as fresh:
        tokenizer.save(fresh)
        # The file that makes it one, tokenizer.*, comes last.
        for path in sorted(pathlib.Path(fresh).iterdir(), reverse=True):
          path.replace(self.root / path.name)
      self._push_all()
    return load_tokenizer(self.root)

  def read_config(self) -> dict[str, Any]:
    """Reads the config of the run.

    Raises:
      CheckpointError: no run was started in this folder, or its config.json
        is damaged.
    """
    if not self.config.is_file():
      raise CheckpointError(
        f"{self.home}: no run was started in this folder (there is no "
        "config.json). Train one with: python -m ltu_jax.main "
        f"--config=configs/quickstart.py --workdir={self.home}"
      )
    try:
      found = json_text.read(self.config)
    except ValueError as error:
      raise CheckpointError(
        f"{self.home / 'config.json'} is damaged: {error}"
      ) from error
    if not isinstance(found, dict):
      raise CheckpointError(
        f"{self.home / 'config.json'} is damaged: it holds no JSON object"
      )
    return found


def model_config(
  workdir: Workdir, config: Mapping[str, Any], tokenizer: Tokenizer | None
) -> LtuConfig:
  """The run's model; its vocabulary is the tokenizer's or the pretrained one's.

  Without a tokenizer it is the config's, which has the pretrained one's sizes.

  Raises:
    ConfigError: a tokenizer with more ids than the pretrained decoder has.
  """
  if tokenizer is None:
    return config_lib.model_config(config)
  pretrained = workdir.bases().get(workdir.pretrained)
  if pretrained is None or "llama" not in pretrained.parts:
    return config_lib.model_config(config, tokenizer.vocab_size)
  cfg = config_lib.model_config(config)
  if tokenizer.vocab_size > cfg.llama.vocab:
    raise config_lib.ConfigError(
      f"the tokenizer has {tokenizer.vocab_size} ids, the decoder of "
      f"{config['base']} only {cfg.llama.vocab}; set config.tokenizer.model to "
      "the decoder's own tokenizer"
    )
  return cfg


def make_base(
  workdir: Workdir, config: Mapping[str, Any], cfg: LtuConfig, mesh: Mesh
) -> None:
  """Draws the start weights that no pretrained base gives, and saves them."""
  if base.is_there(workdir.base):
    return
  cfg = cfg.unquantized
  given = {part for found in workdir.bases().values() for part in found.parts}
  parts = {name: getattr(cfg, name) for name in PART_TYPES if name not in given}
  params = init_params(cfg, mesh, jax.random.key(config["seed"]), tuple(parts))
  if nnx.to_flat_state(params):
    origin = [f"{', '.join(parts)}: drawn from seed {config['seed']}"]
    base.save(workdir.base, params, parts, origin)


def load_base_params(
  workdir: Workdir, cfg: LtuConfig, mesh: Mesh, cast: bool = False
) -> tuple[nnx.State, str]:
  """Start weights on the mesh, and their hash; `cast` as in base_load.

  Raises:
    CheckpointError: missing, damaged, or of another model.
  """
  target = abstract_params(cfg, mesh)
  params, hashes = target, []
  for folder, found in workdir.bases().items():
    part, _ = split_parts(target, found.parts)
    pure = base_load.load(folder, nnx.to_pure_dict(part), cast)
    params = overlay(params, pure)
    hashes.append(found.content_hash)
  missing = {
    part_of(path_name(path))
    for path, variable in nnx.to_flat_state(params)
    if not isinstance(variable.get_value(), jax.Array)
  }
  if missing:
    raise CheckpointError(
      f"{workdir.home}: there are no start weights for {sorted(missing)}."
    )
  return params, "+".join(hashes)


def weight_shapes(weights: nnx.State) -> dict[str, Any]:
  """Shapes and shardings of weights, as `Checkpoints` takes them."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    nnx.to_pure_dict(weights),
  )
