"""What a TPU's compiler hides by itself: no flags are needed for it."""

import os
import pathlib
import subprocess
import sys

import pytest

from ltu_jax.aot import overlap

ROOT = pathlib.Path(__file__).parents[2]

# As libtpu 0.0.42.1 writes it, shortened.
TEXT = """
%async_collective_fusion.7 (a: bf16[4,8]) -> bf16[64,8] {
  %g = bf16[64,8]{1,0} all-gather(%a), channel_id=7, dimensions={0}
}

ENTRY %main (a: bf16[4,8]) -> f32[] {
  %g.1 = bf16[64,8]{1,0} all-gather(%a), channel_id=7, dimensions={0}
  %g.2 = bf16[64,8]{1,0} all-gather(%b), channel_id=8, dimensions={0}, \
frontend_attributes={async_collective_name="all-gather-start"}
  %s = (bf16[1,256]{1,0}, bf16[1,256]{1,0}) collective-permute-start(%x), \
channel_id=3
  %r = bf16[768]{0} all-reduce(%y), channel_id=9, to_apply=%add
  ROOT %r.1 = bf16[768]{0} all-reduce(%z), channel_id=10, to_apply=%add
}
"""


def test_marks_of_what_is_hidden():
  assert overlap.exposed(TEXT) == {"all-reduce of 1.5 kB": 2}
  plain = TEXT.replace("async_collective", "other")
  assert overlap.exposed(plain)["all-gather of 1.0 kB"] == 2


# A scan over layers whose weights are cut over four chips, as ours are.
PROGRAM = """
import sys
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from ltu_jax.aot import overlap, topologies
from ltu_jax.sharding import make_mesh

topology = topologies.parse("v5e:2x2")
mesh = make_mesh(
  {"data": 1, "fsdp": 4, "tensor": 1}, topologies.devices(topology)
)
of = lambda shape, *cut: jax.ShapeDtypeStruct(
  shape, jnp.bfloat16, sharding=NamedSharding(mesh, PartitionSpec(*cut))
)
rows = NamedSharding(mesh, PartitionSpec("fsdp"))

def loss(w, x):
  def layer(x, w):
    x = jax.lax.with_sharding_constraint(jnp.tanh(x @ w), rows)
    return x, None
  return jax.lax.scan(layer, x, w)[0].astype(jnp.float32).sum()

step = jax.jit(loss)
compiled = step.lower(
  of((8, 4096, 4096), None, "fsdp"), of((4096, 4096), "fsdp")
).compile()
text = compiled.as_text()
assert " all-gather(" in text or "collective-permute-start(" in text
print(sum(overlap.exposed(text).values()), dict(overlap.exposed(text)))
"""


def compiled(flags):
  return subprocess.run(
    [sys.executable, "-c", PROGRAM],
    env=os.environ | {"LIBTPU_INIT_ARGS": flags, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=False,
  )


@pytest.mark.slow
def test_gathers_of_weights_are_hidden_without_flags():
  done = compiled("")
  assert done.returncode == 0, done.stderr[-3000:]
  assert "gather" not in done.stdout, done.stdout
  # The compiler can be told not to: so the marks are of this.
  off = "--xla_tpu_enable_async_collective_fusion=false"
  off += " --xla_enable_async_all_gather=false"
  off += " --xla_jf_spmd_threshold_for_windowed_einsum_mib=1000000"
  done = compiled(off)
  assert done.returncode == 0, done.stderr[-3000:]
  assert "all-gather of" in done.stdout, done.stdout


@pytest.mark.slow
def test_an_unknown_flag_is_refused():
  done = compiled("--xla_tpu_no_such_flag=true")
  assert done.returncode != 0
  assert "Unknown command line flag 'xla_tpu_no_such_flag'" in done.stderr
