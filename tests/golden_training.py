"""The published Trainer's twenty steps, with our training step."""

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

import golden_data
from golden_gradients import TRAINABLE
from ltu_jax import optim
from ltu_jax.convert.from_torch import import_state_dict
from ltu_jax.models.ltu import abstract
from ltu_jax.sharding import path_name
from ltu_jax.train_state import new_state, split_params
from ltu_jax.train_step import make_train_step

STEPS, ACCUMULATION = 20, 2


def micro_batch(index: int, width: int) -> dict[str, np.ndarray]:
  """One published micro-batch, padded on the left to `width` tokens.

  The added columns are padding that nobody sees; the published columns keep
  their positions 32, 33, ...
  """
  data = golden_data.load("train_a")
  get = lambda key: data[f"micro/{index:03d}/{key}"]
  text = golden_data.text_batch(
    get("input_ids"), get("attention_mask"), get("labels")
  )
  extra = width - text["tokens"].shape[1]
  text = {k: np.pad(v, ((0, 0), (extra, 0))) for k, v in text.items()}
  return text | {
    "fbank": data["pool_audio"][get("audio_index")],
    "has_audio": np.ones(2, bool),
  }


def as_one_micro_batch(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The same step from [A, B, ...] as [1, A * B, ...].

  A target weighs one by the number of targets of its own micro-batch, so that
  the mean over the rows is the mean of the micro-batches' means.
  """
  weights = batch["loss_weights"]
  mean = weights / weights[..., 1:].sum((1, 2), keepdims=True)
  batch = batch | {"loss_weights": mean}
  return {k: v.reshape(1, -1, *v.shape[2:]) for k, v in batch.items()}


def train(params: nnx.State, mesh: Mesh, accumulation: int = ACCUMULATION):
  """Trains the published 20 steps from parameters that lie on the mesh.

  Args:
    params: start values; the trainable ones are donated.
    mesh: the mesh.
    accumulation: the published number of micro-batches, or 1.

  Returns:
    Metrics of each step, the last state, the frozen part.
  """
  data = golden_data.load("train_a")
  graphdef, _ = abstract(golden_data.config("forward_a"))
  trainable, frozen = split_params(params, TRAINABLE)
  state = new_state(trainable, jax.random.key(0), mesh)
  step = make_train_step(
    graphdef,
    trainable,
    frozen,
    mesh,
    loss_norm="micro_batch",
    dropout=False,
  )
  width = max(
    data[f"micro/{i:03d}/input_ids"].shape[1]
    for i in range(STEPS * ACCUMULATION)
  )
  schedule = optim.Schedule(peak=1e-3, warmup=5, total=STEPS)
  history, compiles = [], []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: "compile" in event and compiles.append(event)
  )
  for i in range(STEPS):
    micros = [micro_batch(ACCUMULATION * i + j, width) for j in range(2)]
    batch = jax.tree.map(lambda *x: np.stack(x), *micros)
    if accumulation == 1:
      batch = as_one_micro_batch(batch)
    batch = golden_data.on_mesh(batch, mesh)
    before = state
    state, metrics = step(before, frozen, batch, schedule)
    kept = [x.shape for x in jax.tree.leaves(before) if not x.is_deleted()]
    assert not kept, f"not donated: {kept}"
    history.append(jax.device_get(metrics))
    if i == 0:
      assert compiles, "the listener hears nothing"
      compiles.clear()
  jax.monitoring.clear_event_listeners()
  assert not compiles, "compiled again after the first step"
  return history, state, frozen


def compare_history(history: list) -> None:
  """Asserts the published losses, gradient norms and rates."""
  data = golden_data.load("train_a")
  column = lambda key: [float(m[key]) for m in history]
  # golden/README.md: float64 differs by 1e-6 in losses and norms; times ten.
  np.testing.assert_allclose(
    column("loss"), data["train/loss"], rtol=0, atol=1e-5
  )
  np.testing.assert_allclose(
    column("grad_norm"), data["train/grad_norm"], rtol=0, atol=1e-5
  )
  np.testing.assert_allclose(  # float32 rounding of the rate
    column("learning_rate"), data["train/learning_rate"], rtol=1e-6, atol=0
  )


def compare_final(params: nnx.State) -> None:
  """Asserts every published weight after the last step, and all others."""
  cfg = golden_data.config("forward_a")
  start = golden_data.params("forward_a")
  final = golden_data.params("train_a", "final")
  assert len(final) == golden_data.meta("train_a")["trainable"]
  want = import_state_dict(abstract(cfg)[1], cfg, start | final)
  want = dict(nnx.to_flat_state(want))
  for path, got in nnx.to_flat_state(params):
    got, expected = got.get_value(), want[path].get_value()
    if path_name(path).endswith("qkv/b"):
      # The key's bias: gradient 0 in exact arithmetic, Adam moves it by
      # rounding noise; the README of the golden data allows it 1e-3.
      np.testing.assert_allclose(got[:, 1], expected[:, 1], rtol=0, atol=1e-3)
      got, expected = got[:, ::2], expected[:, ::2]
    # README: final weights differ by 6e-7 in float64; times ten.
    np.testing.assert_allclose(
      got, expected, rtol=0, atol=6e-6, err_msg=path_name(path)
    )
