"""Updates that would spoil the weights are not made, in the compiled step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import golden_data
from checkpoint_states import bits
from ltu_jax import guard, optim
from ltu_jax.guard import Guard
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import new_state, split_params
from ltu_jax.train_step import make_train_step


@functools.cache
def compiled(**options):
  graphdef, params = nnx.split(golden_data.model("forward_a"))
  trainable, frozen = split_params(params, ("^projector/", "lora_"))
  mesh = make_mesh({}, jax.devices()[:1])
  step = make_train_step(
    graphdef, trainable, frozen, mesh, guard=Guard(**options)
  )
  state = lambda: new_state(
    jax.tree.map(jnp.copy, trainable), jax.random.key(0), mesh
  )
  batch = jax.tree.map(lambda x: x[None], golden_data.batch("forward_a"))
  return functools.partial(step, frozen=frozen, schedule=RATE), state, batch


RATE = optim.Schedule(1e-2, 0, 100)


def test_finite_steps_are_made():
  step, start, batch = compiled()
  state, metrics = step(start(), batch=batch)
  assert metrics["not_finite"] == 0 and metrics["not_updated"] == 0
  assert bits(state["trainable"]) != bits(start()["trainable"])
  assert int(state["guard"]["updates"]) == 1
  assert float(state["guard"]["loss"]) == pytest.approx(
    float(metrics["loss"]),
    rel=1e-6,  # one product in float32
  )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_changes_nothing_but_the_step(value):
  step, start, batch = compiled()
  state, _ = step(start(), batch=batch)
  before = jax.device_get(
    {k: v for k, v in state.items() if k not in ("step", "rng")}
  )
  fbank = np.array(batch["fbank"])
  fbank[0, 1, 5, 5] = value
  state, metrics = step(state, batch=batch | {"fbank": fbank})
  assert metrics["not_finite"] == 1 and metrics["not_updated"] == 1
  after = {k: v for k, v in state.items() if k not in ("step", "rng")}
  assert bits(after) == bits(before)
  assert int(state["step"]) == 2


def test_after_a_skipped_update_all_goes_on_as_if_it_had_not_been():
  step, start, batch = compiled()
  bad = batch | {"fbank": np.full_like(batch["fbank"], np.nan)}
  state, _ = step(start(), batch=batch)
  state, _ = step(state, batch=bad)
  with_bad, _ = step(state, batch=batch)
  # The same two updates, the second at the learning rate and key of step 2.
  state, _ = step(start(), batch=batch)
  state["step"] = state["step"] + 1
  without, _ = step(state, batch=batch)
  assert bits(with_bad) == bits(without)


def judge(losses, **options):
  guarded, memory = Guard(**options), guard.start()
  made = []
  for loss in losses:
    _, good, memory = guarded(memory, jnp.float32(loss), jnp.float32(1))
    made.append(bool(good))
  return made, memory


def test_a_spike_is_skipped_after_enough_steps():
  losses = [4, 2, 3, 3, 9.5, 3, 8, 3]
  made, memory = judge(losses, spike_factor=3.0, spike_after=3)
  assert made == [True, True, True, True, False, True, True, True]
  counted = [x for x, good in zip(losses, made, strict=True) if good]
  # So early, the running mean is the mean of the updates that were made.
  assert float(memory["loss"]) == pytest.approx(np.mean(counted), rel=1e-6)
  assert int(memory["updates"]) == 7


def test_no_spike_check_by_default_or_before_its_time():
  assert all(judge([1, 1000, 1, 1e6])[0])
  assert all(judge([1, 1000, 1], spike_factor=2.0, spike_after=5)[0])


def test_a_compiled_spike_changes_nothing():
  step, start, batch = compiled(spike_factor=1.5, spike_after=1)
  state, first = step(start(), batch=batch)
  # The running mean says that losses were far lower.
  state["guard"]["loss"] = jnp.float32(float(first["loss"]) / 4)
  before = jax.device_get([state["trainable"], state["opt"]])
  state, metrics = step(state, batch=batch)
  assert metrics["not_finite"] == 0 and metrics["not_updated"] == 1
  assert bits([state["trainable"], state["opt"]]) == bits(before)
