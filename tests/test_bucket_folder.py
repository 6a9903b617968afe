"""The folder of a run in a bucket: its lock, small files, checkpoints."""

import re
import threading

import fsspec
import numpy as np
import pytest

from bucket_server import BUCKET
from checkpoint_states import abstract, bits, make_iterator, make_state, mesh
from ltu_jax import base, base_load, bucket_scratch, bucket_store, tree_names
from ltu_jax.bucket_scratch import Scratch, shown
from ltu_jax.bucket_store import BucketError, ChangedError, Store
from ltu_jax.checkpoint import CheckpointError, Checkpoints
from ltu_jax.workdir import Workdir
from ltu_jax.workdir_lock import LockError, WorkdirLock

pytestmark = [
  pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
  pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
  pytest.mark.usefixtures("drop_orbax_rest"),
]


@pytest.fixture
def address(bucket, request):
  """A folder in it for one test."""
  bucket.forbidden.clear()
  bucket.hidden.clear()
  return f"gs://{BUCKET}/runs/{request.node.name}"


def name_of(address):
  return address.removeprefix(f"gs://{BUCKET}/")


def quick(address):
  times = {"beat_seconds": 0.05, "settle_seconds": 0.3, "grace_seconds": 0.3}
  return WorkdirLock(address, **times)


def flip(bucket, name):
  content = bytearray(bucket.read(name))
  content[len(content) // 2] ^= 4
  bucket.write(name, bytes(content))
  return bytes(content)


def test_of_four_that_start_at_once_one_holds_the_lock(bucket, address):
  held, told = [], []
  together, end = threading.Barrier(4), threading.Event()

  def run():
    together.wait()
    try:
      with quick(address) as lock:
        held.append(lock)
        end.wait(20)
    except LockError as error:
      told.append(str(error))
      if len(told) == 3:
        end.set()

  threads = [threading.Thread(target=run) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(held) == 1 and not held[0].lost
  assert all(f"{address} is in use by process" in text for text in told)
  assert not bucket.names(name_of(address))  # given back


def test_a_lock_that_stands_still_is_taken_over_and_its_holder_stops(
  bucket, address, capsys
):
  with quick(address) as first:
    name = f"{name_of(address)}/lock"
    # As one that is suspended: its beats do not arrive, and later they do.
    bucket.forbidden.append(re.escape(name))
    content = bucket.read(name)
    bucket.forbidden.clear()
    first._stop.set()
    first._thread.join()
    with quick(address) as second:
      assert "no sign of life" in capsys.readouterr().out
      assert bucket.read(name) != content
      first._beat()
      with pytest.raises(LockError, match="was taken over by process"):
        first.check()
      second.check()
    assert not bucket.names(name_of(address))


def test_small_files_go_there_and_come_back(bucket, address):
  one = Scratch(address)
  (one.folder / "metrics.jsonl").write_text("1\n")
  (one.folder / "evaluation").mkdir()
  (one.folder / "evaluation/a.json").write_text("{}")
  (one.folder / "half.tmp").write_text("not yet")
  assert one.push() == "" == one.push()
  names = {"metrics.jsonl", "evaluation/a.json"}
  there = bucket.names(name_of(address))
  assert {x.removeprefix(f"{name_of(address)}/") for x in there} == names
  assert shown(one.folder / "a") == f"{address}/a"

  two = Scratch(address)
  assert [path.name for path in two.folder.iterdir()] == ["metrics.jsonl"]
  (two.folder / "metrics.jsonl").write_text("1\n2\n")
  (two.folder / "evaluation").mkdir()
  (two.folder / "evaluation/a.json").write_text("[]")  # known, not fetched
  assert two.push() == ""
  assert not fsspec.filesystem("gcs").dircache.use_listings_cache
  fetched = bucket_scratch.fetched(address, "evaluation")
  assert (fetched / "evaluation/a.json").read_text() == "[]"
  # The first did not hear of that: it was suspended, say.
  (one.folder / "metrics.jsonl").write_text("1\n3\n")
  assert "metrics.jsonl was written by somebody else" in one.push()
  assert bucket.read(f"{name_of(address)}/metrics.jsonl") == b"1\n2\n"


def test_a_write_whose_answer_was_lost_is_no_other_writers(bucket, address):
  store = Store(address)
  generation = store.write("a", b"mine", 0)
  assert store.write("a", b"mine", 0) == generation
  with pytest.raises(ChangedError):
    store.write("a", b"others", 0)


def test_a_damaged_checkpoint_is_moved_and_the_one_before_used(
  bucket, address, capfd
):
  on, folder = mesh(2, 4), f"{name_of(address)}/stage2"
  state, iterator = make_state(on), make_iterator()
  with Checkpoints(f"{address}/stage2") as saved:
    for step in (10, 20):
      next(iterator)
      assert saved.save(step, state, iterator, {"about": step})
      assert saved.settle()
  files = [
    x
    for x in bucket.names(f"{folder}/20/state")
    if "/d/" in x and "process" not in x
  ]
  flipped = {name: flip(bucket, name) for name in files}
  # What a killed save leaves, here without its data.
  bucket.write(f"{folder}/30/_CHECKPOINT_METADATA", b"{}")

  fresh = make_iterator()
  with Checkpoints(f"{address}/stage2") as saved:
    assert saved.steps() == [10, 20]
    found, _, metadata = saved.restore(abstract(state, on), fresh)
  assert metadata["about"] == 10
  assert bits(found) == bits(state)
  second = make_iterator()
  next(second)
  np.testing.assert_array_equal(next(fresh), next(second))
  assert (
    "it was moved to damaged-20, and the step before" in capfd.readouterr().err
  )
  assert not bucket.names(f"{folder}/20") and not bucket.names(f"{folder}/30")
  for name, content in flipped.items():
    moved = name.replace("stage2/20/", "stage2/damaged-20/")
    assert bucket.read(moved) == content
  # A save that fails costs nothing else, and is made again.
  with Checkpoints(f"{address}/stage2") as saved:
    assert saved.steps() == [10]
    bucket.forbidden.append("stage2/20/state/")
    assert saved.save(20, state, iterator)
    assert not saved.settle() and saved.due(21)
    err = capfd.readouterr().err
    assert "Forbidden" in err and "Steps that are safe: 10." in err
    assert not bucket.names(f"{folder}/20")
    bucket.forbidden.clear()
    assert saved.save(20, state, iterator) and saved.settle()
  assert bucket.names(f"{folder}/damaged-20")  # nothing cleaned it away
  # What cannot be read now is not damaged.
  bucket.hidden.append("stage2/20/state/d/")
  with Checkpoints(f"{address}/stage2") as saved:
    with pytest.raises(CheckpointError, match="cannot be read now"):
      saved.restore(abstract(state, on), make_iterator())
    bucket.hidden.clear()
    assert saved.steps() == [10, 20]
    saved.restore(abstract(state, on), make_iterator())


def test_a_base_folder_is_whole_or_not_there(bucket, address, tmp_path):
  weights = {"b": np.arange(6.0, dtype=np.float32), "c": np.ones((3, 2), "f")}
  bucket.forbidden.append("base/base.json")
  with pytest.raises(CheckpointError, match="lacks the permission"):
    base.save(f"{address}/base", weights, {}, ["a test"])
  bucket.forbidden.clear()
  assert bucket.names(f"{name_of(address)}/base")
  assert not base.is_there(f"{address}/base")
  base.save(f"{address}/base", weights, {}, ["a test"])
  on = mesh(2, 4)
  want = abstract(weights, on)
  loaded = base_load.load(f"{address}/base", want)
  assert bits(loaded) == bits(weights)
  for workdir in (f"{address}/run", tmp_path):
    Workdir.at(workdir).record_pretrained(f"{address}/base")
    ((folder, found),) = Workdir.at(workdir).bases().items()
    assert str(folder) == f"{address}/base" and found.origin == ("a test",)
  with pytest.raises(CheckpointError, match="base exists"):
    base.save(f"{address}/base", weights, {}, [])
  for name in bucket.names(f"{name_of(address)}/base/weights"):
    if "/d/" in name:
      flip(bucket, name)
  with pytest.raises(CheckpointError, match="base weights are damaged"):
    base_load.load(f"{address}/base", want)
  assert set(base.info(f"{address}/base").arrays) == set(
    tree_names.leaves(weights)
  )


@pytest.mark.parametrize(
  "folder, words",
  [
    ("gs://no-such-bucket/runs/x", "there is no bucket no-such-bucket"),
    (f"gs://{BUCKET}", f"name a folder in the bucket, such as gs://{BUCKET}/"),
    ("s3://bucket/runs/x", "only folders of this machine and gs://BUCKET/"),
  ],
)
def test_what_is_no_folder_of_a_bucket_is_told(bucket, folder, words):
  with pytest.raises(BucketError, match=re.escape(words)):
    Workdir.at(folder)


def test_a_bucket_that_may_not_be_written_is_told(bucket, address):
  bucket.forbidden.append("runs/")
  words = r"account lacks the permission; give it roles/storage.objectUser"
  with pytest.raises(LockError, match=words), quick(address):
    pass
  scratch = Scratch(address)
  (scratch.folder / "a").write_text("1")
  assert re.search(words, scratch.push())


def test_without_gcsfs_the_error_says_what_to_install(monkeypatch):
  monkeypatch.setattr(bucket_store.importlib.util, "find_spec", lambda _: None)
  with pytest.raises(BucketError, match=r"needs gcsfs; .* 'ltu-jax\[gcs\]'"):
    Workdir.at("gs://x/y")
