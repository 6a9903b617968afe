"""Checkpoints: bit-exact, atomic, resumable, on any mesh, clear when wrong."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from checkpoint_states import abstract, bits, make_iterator, make_state, mesh
from ltu_jax import checkpoint
from ltu_jax.checkpoint import CheckpointError, Checkpoints
from ltu_jax.checkpoint_keep import Keep


@pytest.mark.parametrize("shape", [(1, 8), (4, 2), (1, 1)])
def test_round_trip_on_any_mesh_is_bit_exact(tmp_path, shape):
  state, iterator = make_state(mesh(2, 4)), make_iterator()
  for _ in range(3):
    next(iterator)
  with Checkpoints(tmp_path, metadata={"stage": 2}) as checkpoints:
    assert checkpoints.save(30, state, iterator, {"config": {"lr": 1e-4}})
    # The data goes on while the save is written.
    expected = [next(iterator) for _ in range(5)]
  wanted = abstract(state, mesh(*shape))
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest_step() == 30
    got, again, metadata = checkpoints.restore(wanted, make_iterator())
  assert bits(got) == bits(state)
  assert jax.tree.structure(got) == jax.tree.structure(state)
  assert got["rng"].dtype == state["rng"].dtype
  for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
    assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
  assert metadata == {"stage": 2, "config": {"lr": 1e-4}, "step": 30}
  np.testing.assert_array_equal([next(again) for _ in range(5)], expected)


def test_donating_right_after_a_save_does_not_change_it(tmp_path):
  """The update overwrites the state's memory while the save is written."""
  update = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  state = {
    "trainable": {"w": jnp.zeros((2048, 2048))},
    "opt": {},
    "step": jnp.int32(1),
    "rng": jnp.zeros(2),
  }
  wanted = abstract(state, mesh(1, 1))
  with Checkpoints(tmp_path, save_every=1) as checkpoints:
    checkpoints.save(1, state, None)
    for _ in range(5):
      state = update(state)
    jax.block_until_ready(state)
    got, _, _ = checkpoints.restore(wanted, None)
  assert int(got["step"]) == 1
  assert float(jnp.max(jnp.abs(got["trainable"]["w"]))) == 0


def steps(folder):
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_due_at_the_interval_and_no_step_twice(tmp_path):
  state = make_state(mesh(1, 8))
  with Checkpoints(tmp_path, save_every=10) as checkpoints:
    assert [step for step in range(45) if checkpoints.due(step)] == [
      *(10, 20, 30, 40)
    ]
    assert checkpoints.save(40, state, None)
    assert not checkpoints.save(40, state, None)
    assert checkpoints.save(43, state, None)
    assert checkpoints.latest_step() == 43
  with Checkpoints(tmp_path) as checkpoints:
    assert not any(checkpoints.due(step) for step in range(45))


@pytest.mark.parametrize(
  "keep, stay",
  [
    (Keep(), [8, 9]),
    (Keep(last=1), [9]),
    (Keep(last=1, every=4), [4, 8, 9]),
    (Keep(last=1, best=1), [3, 9]),
    (Keep(last=2, every=5, best=2), [3, 5, 6, 8, 9]),
    (Keep(last=1, best=1, metric="other"), [1, 9]),
  ],
)
def test_what_is_kept(tmp_path, keep, stay):
  state = make_state(mesh(1, 1))
  losses = {1: 9, 2: 8, 3: 1, 4: 7, 5: 6, 6: 2, 7: 3, 8: 4, 9: 5}
  for some in (range(1, 6), range(6, 10)):  # as a run that was stopped between
    with Checkpoints(tmp_path, keep=keep) as checkpoints:
      for step in some:
        metrics = {"loss": losses[step], "other": step}
        checkpoints.save(step, state, None, metrics=metrics)
  assert steps(tmp_path) == stay


def test_load_trainable_on_one_device_and_in_part(tmp_path):
  state = make_state(mesh(2, 4))
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, state, make_iterator())
  wanted = abstract(state["trainable"], mesh(1, 1))
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    got = checkpoints.load_trainable(wanted)
    part = checkpoints.load_trainable({"lora": wanted["lora"]}, step=5)
  assert bits(got) == bits(state["trainable"])
  assert all(len(x.devices()) == 1 for x in jax.tree.leaves(got))
  assert bits(part) == bits(state["trainable"]["lora"])
  assert list(part) == ["lora"]


KILLED = """
import os, sys, time
import jax, jax.numpy as jnp
from ltu_jax.checkpoint import Checkpoints
make = lambda step: {"trainable": {"w": jnp.full((2000, 4000), step * 1.0)},
                     "opt": {}, "step": jnp.int32(step), "rng": jnp.zeros(2)}
checkpoints = Checkpoints(sys.argv[1], save_every=10)
checkpoints.save(10, make(10), None)
checkpoints.settle()
# The background thread may not finish: it never gets to the last rename.
rename = os.rename
os.rename = os.replace = lambda *a, **k: os._exit(9)
checkpoints.save(20, make(20), None)
time.sleep(60)
"""


def test_a_killed_save_is_not_restored(tmp_path):
  """A real process dies while Orbax writes step 20."""
  root = pathlib.Path(checkpoint.__file__).parents[1]
  env = {**os.environ, "PYTHONPATH": str(root)}
  done = subprocess.run(
    [sys.executable, "-c", KILLED, str(tmp_path)],
    env=env,
    capture_output=True,
    timeout=120,
  )
  assert done.returncode == 9, done.stderr.decode()
  left = {p.name for p in tmp_path.iterdir()}
  assert "20" not in left
  assert any(name.startswith("20.") for name in left), left
  state = {
    "trainable": {"w": jnp.zeros((2000, 4000))},
    "opt": {},
    "step": jnp.int32(0),
    "rng": jnp.zeros(2),
  }
  with Checkpoints(tmp_path, save_every=10) as checkpoints:
    assert checkpoints.latest_step() == 10
    got, _, _ = checkpoints.restore(abstract(state, mesh(1, 1)), None)
    assert int(got["step"]) == 10
    assert float(got["trainable"]["w"][0, 0]) == 10
    assert checkpoints.save(20, got, None)
    assert checkpoints.latest_step() == 20
  assert not [p for p in tmp_path.iterdir() if p.name.startswith("20.")]


def test_missing_checkpoints_name_the_folder(tmp_path):
  absent = tmp_path / "absent"
  with pytest.raises(CheckpointError, match="absent: there is no finished"):
    Checkpoints(absent, read_only=True)
  assert not absent.exists()
  empty = tmp_path / "empty"
  empty.mkdir()
  with Checkpoints(empty, read_only=True) as checkpoints:
    assert checkpoints.latest_step() is None
    with pytest.raises(CheckpointError, match="empty: there is no finished"):
      checkpoints.load_trainable({})
    assert checkpoints.restore({}, None) is None
    assert checkpoints.load_latest({}) is None
    with pytest.raises(CheckpointError, match="empty: there is no finished"):
      checkpoints.metadata()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  path = tmp_path_factory.mktemp("saved")
  with Checkpoints(path) as checkpoints:
    checkpoints.save(5, make_state(mesh(1, 1)), make_iterator())
  return path


def test_a_step_that_is_not_there(saved):
  with (
    Checkpoints(saved, read_only=True) as checkpoints,
    pytest.raises(CheckpointError, match="no checkpoint of step 6; it has 5"),
  ):
    checkpoints.load_trainable({}, step=6)


def test_another_model_lists_every_difference(saved):
  state = make_state(mesh(1, 1))
  wanted = abstract(state, mesh(1, 1))
  one = NamedSharding(mesh(1, 1), P())
  projector = wanted["trainable"]["projector"]
  projector["kernel"] = jax.ShapeDtypeStruct(
    (16, 25), jnp.bfloat16, sharding=one
  )
  projector["scale"] = jax.ShapeDtypeStruct((3,), jnp.float32, sharding=one)
  del projector["bias"]
  with Checkpoints(saved, read_only=True) as checkpoints:
    with pytest.raises(CheckpointError) as e:
      checkpoints.restore(wanted, make_iterator())
    lines = [line.split() for line in str(e.value).splitlines()]
    rows = {line[0]: line[1:] for line in lines[2:]}
    assert rows == {
      "trainable/projector/bias": ["float32[3]", "missing"],
      "trainable/projector/kernel": ["bfloat16[16,24]", "bfloat16[16,25]"],
      "trainable/projector/scale": ["missing", "float32[3]"],
    }
    with pytest.raises(CheckpointError, match=r"projector/scale +missing"):
      checkpoints.load_trainable(wanted["trainable"])


def test_keys_must_be_str(tmp_path):
  state = make_state(mesh(1, 1))
  state["trainable"]["layers"] = {0: jnp.zeros(2)}
  with (
    Checkpoints(tmp_path) as checkpoints,
    pytest.raises(CheckpointError, match="trainable/layers has the key 0"),
  ):
    checkpoints.save(1, state, None)


def test_leaves_must_be_arrays(tmp_path):
  state = make_state(mesh(1, 1))
  state["step"] = 5
  with (
    Checkpoints(tmp_path) as checkpoints,
    pytest.raises(CheckpointError, match="step of the state is a int"),
  ):
    checkpoints.save(1, state, None)
