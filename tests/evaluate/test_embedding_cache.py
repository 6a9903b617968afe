import os
import pathlib
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from ltu_jax.evaluate.embeddings import cache
from ltu_jax.evaluate.embeddings.cache import Cached
from ltu_jax.evaluate.errors import EvaluateError
from made_up_embedder import MadeUpEmbedder

TEXTS = ["a", "", "b\0c", "\u4e2d", "a", "half \ud800", "made up\0a"]
HERE = pathlib.Path(__file__).resolve()


def files(folder):
  return sorted(folder.rglob("*.npz"))


def test_the_same_with_and_without_and_nothing_twice(tmp_path):
  plain, first, second = MadeUpEmbedder(), MadeUpEmbedder(), MadeUpEmbedder()
  expected = plain(TEXTS)
  cached = Cached(first, tmp_path)
  assert cached.name == first.name
  np.testing.assert_array_equal(cached(TEXTS), expected)
  assert sorted(first.asked) == sorted(set(TEXTS))
  np.testing.assert_array_equal(cached(TEXTS[::-1]), expected[::-1])
  np.testing.assert_array_equal(Cached(second, tmp_path)(TEXTS), expected)
  assert second.asked == []
  assert len(first.asked) == len(set(TEXTS))
  assert cached([]).shape[0] == 0


def test_new_texts_are_added_to_old_ones(tmp_path):
  Cached(MadeUpEmbedder(), tmp_path)(["a", "b"])
  embed = MadeUpEmbedder()
  cached = Cached(embed, tmp_path)
  cached(["a"])
  cached(["c", "b"])
  assert embed.asked == ["c"]
  assert len(files(tmp_path)) == 2


def test_embedders_do_not_share_vectors(tmp_path):
  Cached(MadeUpEmbedder("one"), tmp_path)(TEXTS)
  other = MadeUpEmbedder("two", width=3)
  assert Cached(other, tmp_path)(TEXTS).shape == (len(TEXTS), 3)
  # Not even where a file is moved to the other's folder.
  one, two = sorted({path.parent for path in files(tmp_path)})
  for path in files(one):
    path.rename(two / path.name)
  fresh = MadeUpEmbedder("one"), MadeUpEmbedder("two", width=3)
  for embed in fresh:
    np.testing.assert_array_equal(Cached(embed, tmp_path)(TEXTS), embed(TEXTS))


@pytest.mark.parametrize("place", [0, 100, -200, -1])
def test_a_changed_byte_is_found(tmp_path, capsys, place):
  Cached(MadeUpEmbedder(), tmp_path)(TEXTS)
  (path,) = files(tmp_path)
  content = bytearray(path.read_bytes())
  content[place] ^= 1
  path.write_bytes(content)
  check_renewed(tmp_path, capsys)


@pytest.mark.parametrize("size", [0, 1, 300])
def test_a_cut_file_is_found(tmp_path, capsys, size):
  Cached(MadeUpEmbedder(), tmp_path)(TEXTS)
  (path,) = files(tmp_path)
  path.write_bytes(path.read_bytes()[:size])
  check_renewed(tmp_path, capsys)


def test_a_file_of_something_else_is_found(tmp_path, capsys):
  Cached(MadeUpEmbedder(), tmp_path)(TEXTS)
  (path,) = files(tmp_path)
  content = b"something else"
  path.unlink()
  (path.parent / f"{cache._hash(content)}.npz").write_bytes(content)
  check_renewed(tmp_path, capsys)


def check_renewed(folder, capsys):
  """One message, right vectors, and then a file that is whole."""
  embed = MadeUpEmbedder()
  np.testing.assert_array_equal(
    Cached(embed, folder)(TEXTS), MadeUpEmbedder()(TEXTS)
  )
  assert len(embed.asked) == len(set(TEXTS))
  assert capsys.readouterr().err.count("damaged") == 1
  embed = MadeUpEmbedder()
  Cached(embed, folder)(TEXTS)
  assert embed.asked == []
  assert capsys.readouterr().err == ""


def test_a_file_that_is_damaged_while_it_is_in_use(tmp_path, capsys):
  Cached(MadeUpEmbedder(), tmp_path)(["a", "b"])
  embed = MadeUpEmbedder()
  cached = Cached(embed, tmp_path)
  cached(["a"])
  files(tmp_path)[0].write_bytes(b"")
  np.testing.assert_array_equal(cached(["b"]), MadeUpEmbedder()(["b"]))
  assert embed.asked == ["b"]
  assert "damaged" in capsys.readouterr().err


def test_another_model_behind_the_same_name_is_an_error(tmp_path):
  Cached(MadeUpEmbedder(width=3), tmp_path)(["a"])
  with pytest.raises(EvaluateError, match="delete the folder"):
    Cached(MadeUpEmbedder(width=4), tmp_path)(["a", "b"])


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, capsys):
  place = tmp_path / "file"
  place.write_text("")
  vectors = Cached(MadeUpEmbedder(), place)(TEXTS)
  np.testing.assert_array_equal(vectors, MadeUpEmbedder()(TEXTS))
  assert capsys.readouterr().err.count("cannot be kept there") == 1


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
  Cached(MadeUpEmbedder(), tmp_path)(["a"])
  folder = files(tmp_path)[0].parent
  old, new = folder / "old.part", folder / "new.part"
  for part in (old, new):
    part.write_bytes(b"PK")
  past = time.time() - 2 * 86400
  os.utime(old, (past, past))
  Cached(MadeUpEmbedder(), tmp_path)(["a"])
  assert (old.exists(), new.exists()) == (False, True)


# Embeds 40 chunks; killed at any point, what is there has to be whole.
WORK = textwrap.dedent("""
  import pathlib, sys
  from ltu_jax.evaluate.embeddings import cache
  from made_up_embedder import MadeUpEmbedder
  cache._CHUNK = 5
  embed = MadeUpEmbedder()
  cached = cache.Cached(embed, pathlib.Path(sys.argv[1]))
  print("ready", flush=True)
  cached([f"text {i}" for i in range(int(sys.argv[2]))])
""")


def start(folder, count):
  tests = HERE.parents[1]
  paths = os.pathsep.join([str(tests), str(tests.parent)])
  return subprocess.Popen(
    [sys.executable, "-c", WORK, str(folder), str(count)],
    env=os.environ | {"PYTHONPATH": paths},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_a_kill_loses_no_more_than_a_chunk(tmp_path, capsys):
  process = start(tmp_path, 100_000)
  assert process.stdout.readline() == "ready\n"
  while len(files(tmp_path)) < 20:
    assert process.poll() is None
    time.sleep(0.005)
  process.kill()
  process.communicate()
  texts = [f"text {i}" for i in range(200)]
  embed = MadeUpEmbedder()
  vectors = Cached(embed, tmp_path)(texts)
  np.testing.assert_array_equal(vectors, MadeUpEmbedder()(texts))
  assert len(embed.asked) <= 100
  assert capsys.readouterr().err == ""


def test_processes_may_write_at_once(tmp_path, capsys):
  processes = [start(tmp_path, 300) for _ in range(3)]
  for process in processes:
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
  texts = [f"text {i}" for i in range(300)]
  embed = MadeUpEmbedder()
  vectors = Cached(embed, tmp_path)(texts)
  np.testing.assert_array_equal(vectors, MadeUpEmbedder()(texts))
  assert embed.asked == []
  assert list(tmp_path.rglob("*.part")) == []
  assert capsys.readouterr().err == ""
