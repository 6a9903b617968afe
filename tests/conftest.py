"""Every test runs on 8 fake CPU devices; set before anything imports JAX."""

import gc
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

import xla_flags

os.environ["JAX_PLATFORMS"] = "cpu"
# Tests compile for longer than they compute. The quickstart (slow) runs with
# all optimisations.
_FLAGS = " ".join([os.environ.get("XLA_FLAGS", ""), xla_flags.quick(8)])
os.environ["XLA_FLAGS"] = _FLAGS

# Two workers on two cores: PyTorch's threads would wait for each other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What one test compiled another need not: all workers of a run share a folder.
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
_RUN = os.getppid() if _IS_WORKER else os.getpid()
_COMPILED = pathlib.Path(tempfile.gettempdir(), f"ltu_jax_compiled_{_RUN}")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_configure(config):
  """The folder goes when the run ends; the workers end before."""
  if not _IS_WORKER:
    config.add_cleanup(lambda: shutil.rmtree(_COMPILED, ignore_errors=True))


_LONGEST = (
  *("test_aot_tpu.py", "test_train_processes.py", "test_quickstart.py"),
  *("test_openaqa_prepare.py", "test_smollm2.py", "test_train.py"),
  *("test_page_commands.py", "test_speed.py", "test_chaos.py"),
)


def pytest_collection_modifyitems(items):
  """The longest files first: by name some come last, and then run alone."""
  changed = os.environ["XLA_FLAGS"] != _FLAGS
  assert not changed, "a file of tests, or what it imports, sets XLA_FLAGS"
  ranks = {name: rank for rank, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
  """A folder of tones in classes, and a place for the data set made of it."""
  import made_up_sounds

  root = tmp_path_factory.mktemp("sounds")
  made_up_sounds.write_folder(root / "classes")
  return root


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
  """Programs that no later file runs: in the end they took 5 GB a worker.

  Collected not after every file: that goes through all that was ever imported,
  which in the end took ten seconds.
  """
  yield
  if "jax" in sys.modules:
    sys.modules["jax"].clear_caches()
  if _resident_bytes() > _MOST_BYTES:
    gc.collect()


_MOST_BYTES = 4 << 30


def _resident_bytes() -> int:
  """Memory of this process."""
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
  return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def drop_orbax_rest():
  """Orbax leaves coroutines of other arrays behind when one is unreadable."""
  yield
  gc.collect()


@pytest.fixture(scope="session")
def one_bucket():
  """A running bucket; one for a process, whose readers remember where it is."""
  from bucket_server import Bucket

  server = Bucket()
  yield server
  server.close()


@pytest.fixture(scope="module")
def bucket(one_bucket):
  """The running bucket, in the environment of this process."""
  with pytest.MonkeyPatch.context() as patch:
    for name, value in one_bucket.environment.items():
      patch.setenv(name, value)
    yield one_bucket


@pytest.fixture(scope="session")
def smollm2_served(tmp_path_factory):
  """The one server of a real model; see smollm2_server.Served."""
  import smollm2_server  # transformers takes seconds

  with smollm2_server.serving(tmp_path_factory.mktemp("smollm2")) as served:
    yield served
