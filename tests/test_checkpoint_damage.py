"""Damaged checkpoints are found, named and moved; the one before is used."""

import os
import pathlib
import random
import resource
import shutil

import jax.numpy as jnp
import pytest

from checkpoint_states import abstract, bits, make_iterator, make_state, mesh
from ltu_jax.checkpoint import CheckpointError, Checkpoints

pytestmark = [
  # Orbax leaves coroutines of other arrays behind when one is unreadable.
  pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
  pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
  pytest.mark.usefixtures("drop_orbax_rest"),
]

FIRST, LAST = 5, 6


def state_of(step):
  return make_state(mesh(1, 1), seed=step, step=step)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """Two steps whose numbers and data positions differ."""
  path, iterator = tmp_path_factory.mktemp("saved"), make_iterator()
  with Checkpoints(path) as checkpoints:
    for step in (FIRST, LAST):
      next(iterator)
      checkpoints.save(step, state_of(step), iterator)
  return path


def restore(folder):
  """The step that was restored and whether it is what was saved, to the bit."""
  iterator = make_iterator()
  with Checkpoints(folder) as checkpoints:
    got, _, metadata = checkpoints.restore(
      abstract(state_of(LAST), mesh(1, 1)), iterator
    )
  step = metadata["step"]
  expected = make_iterator()
  for _ in range(step - FIRST + 1):
    next(expected)
  assert iterator.get_state() == expected.get_state()
  assert bits(got) == bits(state_of(step))
  return step


def names(folder):
  return sorted(p.name for p in folder.iterdir())


def truncate(target):
  files = [target] if target.is_file() else target.rglob("*")
  for file in files:
    if file.is_file():
      os.truncate(file, min(3, file.stat().st_size))


def remove(target):
  shutil.rmtree(target) if target.is_dir() else target.unlink()


@pytest.mark.parametrize(
  "broken",
  [
    "state/manifest.ocdbt",
    "state/_METADATA",
    "state/d",
    "state/ocdbt.process_0",
    "state",
    "_CHECKPOINT_METADATA",
    "data",
  ],
)
@pytest.mark.parametrize("how", [remove, truncate])
def test_the_step_before_is_used(saved, tmp_path, broken, how, capsys):
  shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
  how(tmp_path / str(LAST) / broken)
  assert restore(tmp_path) == FIRST
  told = capsys.readouterr().err
  assert told.count("\n") == 1
  assert told.startswith(f"{tmp_path / str(LAST)}: this checkpoint is damaged")
  assert "moved to damaged-6, and the step before is used" in told
  assert names(tmp_path) == ["5", "damaged-6"]
  # The step can be made again, and damaged again.
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(LAST, state_of(LAST), make_iterator())
  how(tmp_path / str(LAST) / broken)
  assert restore(tmp_path) == FIRST
  assert names(tmp_path) == ["5", "damaged-6", "damaged-6.2"]


def flip(folder, rng):
  """Flips one bit of one file; returns where."""
  files = sorted(
    p for p in folder.rglob("*") if p.stat().st_size and p.is_file()
  )
  file = rng.choice(files)
  data = bytearray(file.read_bytes())
  place = rng.randrange(len(data))
  data[place] ^= 1 << rng.randrange(8)
  file.write_bytes(data)
  return file.relative_to(folder), place


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_never_gives_other_numbers(saved, tmp_path, seed):
  """Most are found; a few files are not read, or say the same in two ways."""
  rng = random.Random(seed)
  for turn in range(3):
    folder = tmp_path / str(turn)
    shutil.copytree(saved, folder)
    where = flip(folder / str(LAST), rng)
    step = restore(folder)  # which compares every bit
    assert (folder / "damaged-6").exists() == (step == FIRST), where


def test_every_bit_of_the_numbers_counts(saved, tmp_path):
  """Changed numbers in files that are otherwise right: the seal finds them."""
  shutil.copytree(saved / str(FIRST), tmp_path / str(FIRST))
  other = tmp_path / "other"
  changed = state_of(LAST)
  changed["trainable"]["lora"]["a"] += jnp.float32(1e-6)
  with Checkpoints(other) as checkpoints:
    checkpoints.save(LAST, changed, make_iterator())
  shutil.copytree(other / str(LAST), tmp_path / str(LAST))
  shutil.copy(saved / str(LAST) / "_CHECKPOINT_METADATA", tmp_path / str(LAST))
  shutil.rmtree(other)
  assert restore(tmp_path) == FIRST
  assert names(tmp_path) == ["5", "damaged-6"]


def put_nothing(path):
  path.mkdir()


def put_file(path):
  path.write_text("x")


def put_folder(path):
  path.mkdir()
  (path / "x").write_text("x")


def put_link(path):
  path.symlink_to(path.parent / str(FIRST))


@pytest.mark.parametrize("put", [put_nothing, put_file, put_folder, put_link])
def test_what_is_no_checkpoint_is_moved_and_ends_no_other(
  saved, tmp_path, put, capsys
):
  shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
  for step in (7, 9):
    put(tmp_path / str(step))
  (tmp_path / "notes.txt").write_text("mine")
  assert restore(tmp_path) == LAST
  assert capsys.readouterr().err.count("this checkpoint is damaged") == 2
  want = ["5", "6", "damaged-7", "damaged-9", "notes.txt"]
  assert names(tmp_path) == want


def test_all_damaged_is_nothing_to_restore(saved, tmp_path):
  shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
  for step in (FIRST, LAST):
    truncate(tmp_path / str(step) / "state")
  with Checkpoints(tmp_path) as checkpoints:
    wanted = abstract(state_of(LAST), mesh(1, 1))
    assert checkpoints.restore(wanted, make_iterator()) is None
    assert checkpoints.latest_step() is None
  assert names(tmp_path) == ["damaged-5", "damaged-6"]


def test_readers_pass_over_damage_and_touch_nothing(saved, tmp_path, capsys):
  shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
  truncate(tmp_path / str(LAST) / "state")
  wanted = abstract(state_of(LAST)["trainable"], mesh(1, 1))
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    step, got = checkpoints.load_latest(wanted)
    assert step == FIRST
    assert bits(got) == bits(state_of(FIRST)["trainable"])
    with pytest.raises(CheckpointError, match="6: this checkpoint is damaged"):
      checkpoints.load_trainable(wanted)
  assert "damaged" in capsys.readouterr().err
  assert names(tmp_path) == ["5", "6"]


@pytest.fixture
def small_files():
  """Lets no file grow beyond a size: a real error of the system."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  yield lambda size: resource.setrlimit(
    resource.RLIMIT_FSIZE, (size, limits[1])
  )
  resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def wait_for_failure(checkpoints):
  import time

  for _ in range(600):
    if checkpoints.has_failed():
      return
    time.sleep(0.05)
  raise AssertionError("the save did not fail")


def test_a_failed_save_is_told_and_tried_again(
  saved, tmp_path, small_files, capfd
):
  shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
  with Checkpoints(tmp_path, save_every=10) as checkpoints:
    assert not checkpoints.due(7)
    small_files(4096)  # enough for the first look, and not for all
    checkpoints.save(10, state_of(10), make_iterator())
    wait_for_failure(checkpoints)
    assert not checkpoints.settle()
    assert checkpoints.due(11)
    checkpoints.save(11, state_of(11), make_iterator())
    wait_for_failure(checkpoints)
    assert not checkpoints.settle()
    assert names(tmp_path) == ["5", "6"]  # nothing is left of the two
    assert not checkpoints.due(12) and checkpoints.due(13)
    small_files(resource.RLIM_INFINITY)
    checkpoints.save(13, state_of(13), make_iterator())
    assert checkpoints.settle() and not checkpoints.has_failed()
    assert not checkpoints.due(14) and checkpoints.due(20)
  assert names(tmp_path) == ["13", "6"]
  told = [x for x in capfd.readouterr().err.splitlines() if "not be saved" in x]
  assert [f"{tmp_path}/10:" in told[0], f"{tmp_path}/11:" in told[1]] == [
    True
  ] * 2
  assert all("Steps that are safe: 5, 6." in line for line in told)


def test_a_last_save_that_cannot_be_made_is_an_error(
  saved, tmp_path, small_files, monkeypatch
):
  monkeypatch.setattr("ltu_jax.checkpoint_save._PAUSES", (0, 0))
  shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
  with Checkpoints(tmp_path) as checkpoints:
    small_files(4096)  # enough for the first look, and not for all
    words = r"10: could not be saved in 3 tries\..* goes on from step 6\."
    with pytest.raises(CheckpointError, match=words):
      checkpoints.finish(10, state_of(10), make_iterator())
    small_files(resource.RLIM_INFINITY)
    checkpoints.finish(10, state_of(10), make_iterator())
    assert checkpoints.latest_step() == 10
  assert names(tmp_path) == ["10", "6"]


def test_a_folder_that_cannot_be_made(tmp_path):
  file = tmp_path / "file"
  file.write_text("")
  with pytest.raises(
    CheckpointError, match="file/stage1: this folder of check"
  ):
    Checkpoints(pathlib.Path(file) / "stage1")
