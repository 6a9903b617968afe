"""Runs a batch whose update was skipped again, to find the row that did it.

The state before that step is made again: from the newest checkpoint before it,
step by step. Then each row is run through the same compiled gradient alone, in
its own place and with its own dropout, beside copies of itself without targets.
"""

import contextlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ltu_jax import bad_batches, bucket_store, tree_names
from ltu_jax import config as config_lib
from ltu_jax.checkpoint import Checkpoints
from ltu_jax.experiment import Experiment
from ltu_jax.stage_run import StageRun
from ltu_jax.train_state import TrainState
from ltu_jax.train_step import NOTES, Batch, gradients
from ltu_jax.trained import lay_over

_SHOWN = 10
"""Rows that are printed; the file has all."""


def run(experiment: Experiment, params: nnx.State) -> None:
  """Replays `config.debug.replay`; saves nothing of the run.

  Prints a line for each row, the most telling first, and writes all to
  FILE.replay.json beside the file.

  Args:
    experiment: the run.
    params: its start weights.

  Raises:
    BadBatchError: the file cannot be used, or is of another run.
    CheckpointError: the stages before it are not there.
  """
  path = experiment.config.debug.replay
  number, step, rows = bad_batches.read(path)
  stage_run = _stage_run(experiment, params, number)
  if not 1 <= step <= stage_run.last_step:
    raise bad_batches.BadBatchError(
      f"config.debug.replay: {path} is of step {step}, and stage {number} has"
      f" {stage_run.last_step}"
    )
  if stage_run.batches.rows(step - 1) != rows:
    raise bad_batches.BadBatchError(
      f"config.debug.replay: {path} is of another run: step {step} of stage"
      f" {number} has other rows here"
    )
  state, iterator = _state_before(stage_run, step)
  batch = stage_run.next_batch(iterator, step - 1)
  measured = _measure(stage_run, state, batch)
  _tell(experiment, bucket_store.path(path), stage_run, rows, measured)


def _stage_run(
  experiment: Experiment, params: nnx.State, number: int
) -> StageRun:
  """The stage of a number, on the weights of those before it."""
  stages = config_lib.stages(experiment.config)
  stage = next((s for s in stages if s.number == number), None)
  if stage is None:
    raise bad_batches.BadBatchError(
      f"config.debug.replay: there is no stage {number} in this config"
    )
  for before in stages[: stages.index(stage)]:
    params = lay_over(experiment.folder, before, params)
  return StageRun(experiment, stage, params)


def _state_before(
  stage_run: StageRun, step: int
) -> tuple[TrainState, Iterator]:
  """State and data position at the end of the step before, made again."""
  folder = stage_run.experiment.folder.checkpoints(stage_run.stage)
  first, saved = 0, None
  with contextlib.ExitStack() as held:
    if folder.is_dir():
      saved = held.enter_context(Checkpoints(folder, read_only=True))
      first = max((s for s in saved.steps() if s < step), default=0)
    state, iterator = stage_run.restore_or_start(saved, first)
  step_fn = stage_run.make_step()
  for number in range(first, step - 1):
    batch = stage_run.next_batch(iterator, number)
    state, values = step_fn(state, stage_run.frozen, batch, stage_run.schedule)
    if (number + 1) % stage_run.config.log_every == 0:
      words = f"step {number + 1}/{step - 1}  loss {float(values['loss']):.3f}"
      stage_run.metrics.print(f"replay: {words}")
  return state, iterator


def _measure(
  stage_run: StageRun, state: TrainState, batch: Batch
) -> list[tuple[float, float, dict[str, float]]]:
  """(loss, gradient norm, norm by part) of the batch, then of each row."""
  config, experiment = stage_run.config, stage_run.experiment
  batch = {k: v for k, v in batch.items() if k not in NOTES}
  num_micro, num_rows = batch["tokens"].shape[:2]

  def measure(state, frozen, batch):
    grads, loss, _ = gradients(
      experiment.graphdef,
      state["trainable"],
      frozen,
      batch,
      jax.random.fold_in(state["rng"], state["step"]),
      config.optimizer.loss_norm,
      config_lib.augment(config),
      config.optimizer.loss_chunk,
    )
    parts = {}
    for name, grad in tree_names.leaves(nnx.to_pure_dict(grads)).items():
      parts.setdefault(name.split("/")[0], []).append(grad)
    norms = {name: optax.tree.norm(some) for name, some in parts.items()}
    return loss, optax.tree.norm(grads), norms

  def measure_row(state, frozen, batch, micro, row):
    return measure(state, frozen, _alone(batch, micro, row))

  measured = []
  with jax.set_mesh(experiment.mesh):
    whole = jax.jit(measure)(state, stage_run.frozen, batch)
    measured.append(jax.device_get(whole))
    one = jax.jit(measure_row)
    for micro in range(num_micro):
      for row in range(num_rows):
        found = one(state, stage_run.frozen, batch, micro, row)
        measured.append(jax.device_get(found))
  return measured


def _alone(batch: Batch, micro: jax.Array, row: jax.Array) -> Batch:
  """A batch of one row: copies everywhere, targets in its own place alone.

  Copies, as a row of zeros could hide what other rows do, and a weight of 0
  does not hide what is not finite.
  """
  copies = {
    k: jnp.broadcast_to(v[micro, row], v.shape) for k, v in batch.items()
  }
  weights = jnp.zeros_like(batch["loss_weights"])
  own = batch["loss_weights"][micro, row]
  return copies | {"loss_weights": weights.at[micro, row].set(own)}


def _tell(
  experiment: Experiment,
  path: pathlib.Path,
  stage_run: StageRun,
  rows: Sequence[int],
  measured: Sequence[tuple[float, float, dict[str, float]]],
) -> None:
  """Prints what was found, the most telling rows first; writes all of it."""
  questions = bad_batches.describe(stage_run.batches, rows)
  found = [
    {"row": row, **_numbers(values), "question": question}
    for row, values, question in zip(rows, measured[1:], questions, strict=True)
  ]
  # What is not finite first, then the largest gradients.
  found.sort(key=lambda x: -(x["grad_norm"] if _is_finite(x) else math.inf))
  say = experiment.metrics.print
  whole = _numbers(measured[0])
  say(f"replay: the whole batch: {_words(whole)}")
  for line in found[:_SHOWN]:
    about = line["question"].get("clip_id", "")
    say(f"  row {line['row']} {about}: {_words(line)}")
  out = path.with_suffix(".replay.json")
  if jax.process_index() == 0:
    text = json.dumps({"batch": whole, "rows": found}, indent=1, default=str)
    out.write_text(text + "\n", encoding="utf-8")
  say(f"replay: all {len(found)} rows are in {out}")


def _numbers(
  values: tuple[float, float, dict[str, float]],
) -> dict[str, Any]:
  """As JSON has them."""
  loss, norm, parts = values
  return {
    "loss": float(loss),
    "grad_norm": float(norm),
    "grad_norm_by_part": {name: float(x) for name, x in parts.items()},
  }


def _is_finite(line: Mapping[str, Any]) -> bool:
  return math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"])


def _words(line: Mapping[str, Any]) -> str:
  """A line's numbers."""
  parts = line["grad_norm_by_part"].items()
  by_part = ", ".join(f"{name} {norm:.4g}" for name, norm in parts)
  numbers = f"loss {line['loss']:.4g}  gradient norm {line['grad_norm']:.4g}"
  return f"{numbers} ({by_part})"
