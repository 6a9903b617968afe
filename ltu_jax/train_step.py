"""One optimiser step: PCM and text in, new weights and the loss out.

Axis letters: B rows, T text tokens, V vocabulary, A micro-batches.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltu_jax import cross_entropy, optim
from ltu_jax.audio.augment import Augment
from ltu_jax.audio.fbank import log_mel
from ltu_jax.guard import Guard, choose
from ltu_jax.models.ltu import LTU
from ltu_jax.sharding import micro_batch_sharding, shardings
from ltu_jax.train_state import TrainState, abstract_state

Batch = Mapping[str, jax.Array]
"""ARCHITECTURE's batch; see docs/how_it_works.md."""

LOSS_NORMS = ("tokens", "micro_batch")
"""What the loss of a batch may be the mean of; see `gradients`."""

NOTES = ("stop", "save_failed")
"""What one host has to tell all, float32 [A, B], the same in all of its rows.

It rides on the batch, so that all learn it at the same step, with the step's
metrics, and no word more has to be exchanged."""


def features(
  batch: Batch, num_frames: int
) -> tuple[jax.Array | None, jax.Array]:
  """Filter banks of a batch and which rows have audio.

  Args:
    batch: with `pcm` and `num_samples`; or with `fbank` and `has_audio` already
      made; or with neither, for text alone.
    num_frames: frames of the encoder.

  Returns:
    float32 [B, num_frames, 128] or None, and bool [B].
  """
  if "fbank" in batch:
    return batch["fbank"], batch["has_audio"]
  if "pcm" not in batch:
    return None, jnp.zeros(batch["tokens"].shape[0], bool)
  with jax.named_scope("fbank"):
    fbank = log_mel(batch["pcm"], batch["num_samples"], num_frames=num_frames)
  return fbank, batch["num_samples"] > 0


def loss_sum(
  model: LTU,
  batch: Batch,
  key: jax.Array | None = None,
  augment: Augment | None = None,
  loss_chunk: int = 0,
) -> tuple[jax.Array, jax.Array]:
  """Cross entropy of the targets, shifted by one inside the text.

  Position t-1 predicts token t where `loss_weights[:, t]` is 1. Column 0 is
  never a target: only audio precedes it.

  Args:
    model: LTU.
    batch: the batch; see `features` for its audio.
    key: key of adapter dropout and augmentation, or None for neither.
    augment: changes the filter banks, where there is a key.
    loss_chunk: text positions whose logits exist at a time; 0 for all.

  Returns:
    (sum of weighted losses, sum of weights), float32 scalars.
  """
  fbank, has_audio = features(batch, model.cfg.encoder.num_frames)
  if augment is not None and fbank is not None and key is not None:
    key, augment_key = jax.random.split(key)
    fbank = augment(augment_key, fbank)
  hidden = model.hidden(
    fbank,
    has_audio,
    batch["tokens"],
    batch["positions"],
    batch["segment_ids"],
    key,
  )
  weights = batch["loss_weights"][:, 1:]
  with jax.named_scope("loss"):
    total = cross_entropy.weighted_sum(
      model.llama.logits,
      hidden[:, :-1],
      batch["tokens"][:, 1:],
      weights,
      loss_chunk,
    )
  return total, jnp.sum(weights)


def useful(batch: Batch, num_audio: int) -> tuple[jax.Array, jax.Array]:
  """Counts what a batch [..., B, T] holds beside padding.

  Args:
    batch: the batch; its segments tell questions apart, one or more a row.
    num_audio: A, audio tokens of a clip.

  Returns:
    Questions; and tokens: those of the questions' text, and A for each row that
    hears a clip. float32 scalars, over all hosts.
  """
  segments = batch["segment_ids"]
  in_row = jnp.max(segments, axis=-1)
  hears = jnp.zeros_like(in_row)
  if "fbank" in batch:
    hears = batch["has_audio"] & (in_row > 0)
  elif "pcm" in batch:
    hears = (batch["num_samples"] > 0) & (in_row > 0)
  count = lambda x: jnp.sum(x, dtype=jnp.float32)
  return count(in_row), count(segments > 0) + num_audio * count(hears)


def gradients(
  graphdef: nnx.GraphDef,
  trainable: nnx.State,
  frozen: nnx.State,
  batch: Batch,
  key: jax.Array | None,
  loss_norm: str = "tokens",
  augment: Augment | None = None,
  loss_chunk: int = 0,
) -> tuple[nnx.State, jax.Array, jax.Array]:
  """Mean loss and its gradient over [A, B, ...] micro-batches.

  Args:
    graphdef: structure of the model.
    trainable: parameters that get gradients.
    frozen: the others.
    batch: every leaf [A, B, ...].
    key: key of adapter dropout and augmentation, or None for neither.
    loss_norm: "tokens" divides the sum over all micro-batches by the number of
      targets, so that A micro-batches equal one batch; "micro_batch" is the
      mean of the micro-batches' means, as the published Trainer.
    augment: see `loss_sum`.
    loss_chunk: see `loss_sum`.

  Returns:
    Gradients, loss, and the number of targets.

  Raises:
    ValueError: another `loss_norm`.
  """
  if loss_norm not in LOSS_NORMS:
    raise ValueError(f"loss_norm {loss_norm!r}: one of {LOSS_NORMS}")
  counts = jnp.sum(batch["loss_weights"][..., 1:], axis=(1, 2))
  num = counts.shape[0]
  if loss_norm == "tokens":
    counts_for_mean = jnp.broadcast_to(counts.sum() / num, (num,))
  else:
    counts_for_mean = counts
  scales = 1.0 / (num * jnp.maximum(1.0, counts_for_mean))

  def scaled_loss(trainable, micro, scale, key):
    model = nnx.merge(graphdef, trainable, frozen)
    total, _ = loss_sum(model, micro, key, augment, loss_chunk)
    return total * scale

  def body(carry, inputs):
    index, micro, scale = inputs
    micro_key = None if key is None else jax.random.fold_in(key, index)
    loss, grads = jax.value_and_grad(scaled_loss)(
      trainable, micro, scale, micro_key
    )
    return jax.tree.map(jnp.add, carry, (grads, loss)), None

  zero = (jax.tree.map(jnp.zeros_like, trainable), jnp.float32(0))
  inputs = (jnp.arange(num), batch, scales)
  if num == 1:  # no scan around a single micro-batch: XLA fuses better
    (grads, loss), _ = body(zero, jax.tree.map(lambda x: x[0], inputs))
  else:
    (grads, loss), _ = jax.lax.scan(body, zero, inputs)
  return grads, loss, counts.sum()


def make_train_step(
  graphdef: nnx.GraphDef,
  trainable: nnx.State,
  frozen: nnx.State,
  mesh: Mesh,
  *,
  loss_norm: str = "tokens",
  max_grad_norm: float = 1.0,
  dropout: bool = True,
  augment: Augment | None = None,
  loss_chunk: int = 0,
  guard: Guard | None = None,
) -> Callable:
  """Compiles the step for these shapes and this mesh.

  Args:
    graphdef: structure of the model.
    trainable: arrays or shapes with shardings.
    frozen: the rest.
    mesh: the mesh; rows are cut along data and fsdp.
    loss_norm: see `gradients`.
    max_grad_norm: gradients are clipped to this norm.
    dropout: whether adapters drop their inputs and clips are augmented.
    augment: how clips are augmented; None for not at all.
    loss_chunk: see `loss_sum`.
    guard: which updates are not made; by default, those that are not finite.

  Returns:
    step(state, frozen, batch, schedule) -> (state, metrics), donating the
    state; batch leaves are [A, B, ...]; metrics are float32 scalars: loss,
    grad_norm (before clipping), learning_rate, targets, questions, tokens (see
    `useful`), skipped (rows that are padding alone, over all hosts), not_finite
    and not_updated (1 or 0), and the highest over all hosts of each of NOTES
    that is in the batch. `step.lower` takes shapes in place of arrays, for
    compilation without a device.
  """
  tx, judge = optim.adam(), guard or Guard()
  num_audio = nnx.merge(graphdef, trainable, frozen).cfg.num_audio_tokens

  def step(
    state: TrainState, frozen: nnx.State, batch: Batch, schedule: optim.Schedule
  ):
    key = jax.random.fold_in(state["rng"], state["step"]) if dropout else None
    grads, loss, targets = gradients(
      graphdef,
      state["trainable"],
      frozen,
      batch,
      key,
      loss_norm,
      augment,
      loss_chunk,
    )
    with jax.named_scope("update"):
      grads, norm = optim.clip_by_norm(grads, max_grad_norm)
      rate = schedule(state["step"])
      direction, opt = tx.update(grads, state["opt"], state["trainable"])
      trainable = jax.tree.map(
        lambda p, d: p - rate.astype(p.dtype) * d, state["trainable"], direction
      )
      finite, good, memory = judge(state["guard"], loss, norm)
      new = {
        "trainable": choose(good, trainable, state["trainable"]),
        "opt": choose(good, opt, state["opt"]),
        "step": state["step"] + 1,
        "rng": state["rng"],
        "guard": memory,
      }
    questions, tokens = useful(batch, num_audio)
    metrics = {
      "loss": loss,
      "grad_norm": norm,
      "learning_rate": rate,
      "targets": targets,
      "questions": questions,
      "tokens": tokens,
      "skipped": _count_padding_rows(batch["segment_ids"]),
      "not_finite": 1.0 - finite.astype(jnp.float32),
      "not_updated": 1.0 - good.astype(jnp.float32),
    }
    metrics |= {note: jnp.max(batch[note]) for note in NOTES if note in batch}
    return new, metrics

  state_sharding = shardings(abstract_state(trainable, mesh))
  micro_rows = micro_batch_sharding(mesh)
  everywhere = NamedSharding(mesh, PartitionSpec())
  jitted = jax.jit(
    step,
    in_shardings=(state_sharding, shardings(frozen), micro_rows, everywhere),
    out_shardings=(state_sharding, everywhere),
    donate_argnums=0,
  )

  def run(state, frozen, batch, schedule):
    with jax.set_mesh(mesh):
      return jitted(state, frozen, batch, schedule)

  def lower(*shapes):
    with jax.set_mesh(mesh):
      return jitted.lower(*shapes)

  run.lower = lower
  return run


def _count_padding_rows(segment_ids: jax.Array) -> jax.Array:
  """Counts the rows [..., T] without a question, as float32."""
  return jnp.sum(jnp.all(segment_ids == 0, axis=-1), dtype=jnp.float32)
