"""Weights as integers: rounding, matmul, gradients, and the whole model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import golden_data
from ltu_jax.models import quantized
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.ltu import abstract
from ltu_jax.train_state import PartitionError, split_params
from ltu_jax.train_step import gradients

LARGEST = {"int8": 127, "int4": 7}


def weight(inputs=256):
  return jax.random.normal(jax.random.key(0), (inputs, 3, 5), jnp.bfloat16)


def restored(values, scale):
  """Float64 of what the integers stand for, by NumPy."""
  groups = scale.shape[0]
  values = np.asarray(values, np.float64)
  grouped = values.reshape(groups, -1, *values.shape[1:])
  return (grouped * np.asarray(scale, np.float64)[:, None]).reshape(
    values.shape
  )


@pytest.mark.parametrize(
  "dtype, inputs, groups", [("int8", 256, 1), ("int4", 256, 4), ("int4", 60, 1)]
)
def test_rounding(dtype, inputs, groups):
  w = weight(inputs)
  values, scale = quantized.quantize(w, dtype)
  assert values.dtype == dtype and values.shape == w.shape
  assert scale.dtype == jnp.float32 and scale.shape == (groups, 3, 5)
  off = np.abs(restored(values, scale) - np.asarray(w, np.float64))
  # Half a step at most, but for float32's rounding of w / scale.
  steps = off.reshape(groups, -1, 3, 5) / np.asarray(scale)[:, None]
  assert steps.max() <= 0.5 * (1 + 1e-5)
  # The whole range is used: the largest weight of each group is at its end,
  # half a step beyond LARGEST.
  by_group = np.abs(np.asarray(values, int)).reshape(groups, -1, 3, 5)
  assert set(by_group.max(1).flat) <= {LARGEST[dtype], LARGEST[dtype] + 1}


@pytest.mark.parametrize("dtype", quantized.GROUPS)
def test_dot_and_its_gradient(dtype):
  values, scale = quantized.quantize(weight(), dtype)
  w = restored(values, scale)
  x = jax.random.normal(jax.random.key(1), (2, 7, 256))
  out = jax.random.normal(jax.random.key(2), (2, 7, 3, 5))
  y, pull = jax.vjp(lambda x: quantized.dot(x, values, scale), x)
  assert y.dtype == x.dtype
  # Sums of 256 and of 15 float32 products.
  np.testing.assert_allclose(y, np.tensordot(x, w, 1), rtol=0, atol=1e-4)
  np.testing.assert_allclose(
    pull(out)[0], np.tensordot(out, w, ((2, 3), (1, 2))), rtol=0, atol=1e-4
  )
  half = quantized.dot(x.astype(jnp.bfloat16), values, scale)
  assert half.dtype == jnp.bfloat16
  error = np.abs(np.asarray(half, np.float32) - y).max()
  # bfloat16 keeps 8 bits of x, w and y.
  assert error < 3 * 2**-8 * np.abs(y).max()


def test_unknown_dtype():
  with pytest.raises(ValueError, match=r"base_dtype 'int2'.*int4.*int8"):
    LlamaConfig(base_dtype="int2")


def quantized_params(params, dtype):
  """The parameters of a model with its decoder's matrices as integers."""
  flat = []
  for path, variable in nnx.to_flat_state(params):
    if path[:2] == ("llama", "layers") and path[-1] == "w":
      values, scale = jax.vmap(lambda w: quantized.quantize(w, dtype))(
        variable.get_value()
      )
      flat += [
        (path, variable.replace(values)),
        ((*path[:-1], "w_scale"), variable.replace(scale)),
      ]
    else:
      flat.append((path, variable))
  return nnx.from_flat_state(flat)


@pytest.mark.parametrize("dtype, off", [("int8", 0.01), ("int4", 0.15)])
def test_loss_and_gradients_of_the_golden_model(dtype, off):
  """Near those of full weights; `off` is a bound on the relative distance.

  Steps are 1/127 and 1/7 of the largest weight, and rounding is off by a third
  of a step on average: some 0.5 % and 8 % of a weight.
  """
  name = "forward_a"
  graphdef, params = nnx.split(golden_data.model(name))
  batch = jax.tree.map(lambda x: x[None], golden_data.batch(name))
  found = {}
  for kind in ("", dtype):
    cfg = golden_data.config(name)
    llama = dataclasses.replace(cfg.llama, base_dtype=kind)
    graphdef, _ = abstract(dataclasses.replace(cfg, llama=llama))
    mine = quantized_params(params, kind) if kind else params
    trainable, frozen = split_params(mine, ["lora_", "^projector/"])
    found[kind] = jax.jit(
      lambda t, f, b, g=graphdef: gradients(g, t, f, b, None)
    )(trainable, frozen, batch)
  (grads, loss, _), (want, want_loss, _) = found[dtype], found[""]
  assert 0 < abs(loss - want_loss) < off * want_loss
  norm = lambda tree: jnp.sqrt(
    sum(jnp.sum(x**2) for x in jax.tree.leaves(tree))
  )
  distance = norm(jax.tree.map(jnp.subtract, grads, want)) / norm(want)
  assert 0 < distance < 3 * off
  with pytest.raises(PartitionError, match=r"llama/.*/w cannot be.*int"):
    split_params(quantized_params(params, dtype), ["^llama/"])
