"""Train states and iterators for the tests of checkpoints."""

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def mesh(*shape):
  devices = np.array(jax.devices()[: np.prod(shape)]).reshape(shape)
  return Mesh(devices, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def shardings(tree, on):
  """The first axis over fsdp where it divides, else replicated."""

  def one(x):
    divides = x.ndim and x.shape[0] % on.shape["fsdp"] == 0
    return NamedSharding(on, P("fsdp") if divides else P())

  return jax.tree.map(one, tree)


def make_state(on, seed=0, step=30):
  """A state as training has it: bf16 and float32, optax chain, a typed key."""
  key = jax.random.key(seed)
  a, b = jax.random.split(key)
  trainable = {
    "lora": {"a": jax.random.normal(a, (2, 64, 8))},
    "projector": {
      "kernel": jax.random.normal(b, (16, 24), jnp.bfloat16),
      "bias": jnp.array([jnp.nan, -0.0, 1e-40]),
    },
  }
  tx = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(lambda s: 1e-3 * s)
  )
  opt = tx.init(trainable)
  opt = jax.tree.map(lambda x: x + 1, opt)
  state = {
    "trainable": trainable,
    "opt": opt,
    "step": jnp.int32(step),
    "rng": jax.random.key(7),
  }
  return jax.device_put(state, shardings(state, on))


def abstract(state, on):
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    state,
    shardings(state, on),
  )


def make_iterator(seed=0):
  data = grain.MapDataset.range(1000).seed(seed).shuffle().repeat().batch(4)
  return iter(
    data.to_iter_dataset(
      grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    )
  )


def bits(tree):
  """Bytes of every leaf: NaN and -0 count too."""
  data = lambda x: (
    jax.random.key_data(x)
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    else x
  )
  return [np.asarray(data(x)).tobytes() for x in jax.tree.leaves(tree)]
