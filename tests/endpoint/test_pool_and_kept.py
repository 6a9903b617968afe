"""Many requests in little memory, and a file that a full disk leaves whole."""

import itertools
import resource
import threading

import pytest

from ltu_jax.endpoint import kept
from ltu_jax.endpoint.chat import Said
from ltu_jax.endpoint.errors import EndpointError
from ltu_jax.endpoint.kept import KeptFile
from ltu_jax.endpoint.pool import Pool


def said(item):
  return Said(str(item), (1, 1), {})


def test_items_are_taken_as_threads_come_free():
  taken = []

  def items():
    for n in itertools.count():
      taken.append(n)
      yield str(n), n

  pool = Pool(items(), said, workers=3)
  outcomes = pool.outcomes()
  for done in range(1, 500):
    key, item, outcome = next(outcomes)
    assert key == str(item) == outcome.text
    # Two for each thread: none waits until another's reply is kept.
    assert len(taken) < done + 2 * 3
  list(pool.rest())


def test_nothing_is_sent_that_may_not_be():
  asked = []

  def ask(item):
    asked.append(item)
    return said(item)

  items = ((str(n), n) for n in range(10))
  pool = Pool(items, ask, 2, may_send=lambda n: n < 4)
  assert sorted(item for _, item, _ in pool.outcomes()) == [0, 1, 2, 3]
  assert pool.is_held and sorted(asked) == [0, 1, 2, 3]
  list(pool.rest())


def test_threads_end():
  before = threading.active_count()
  pool = Pool([("a", 1), ("b", 2)], said, 2)
  assert len(list(pool.outcomes())) == 2
  list(pool.rest())
  for thread in threading.enumerate()[before:]:
    thread.join(10)
  assert threading.active_count() <= before


def test_a_full_disk_leaves_whole_lines(tmp_path):
  path = tmp_path / "a.jsonl"
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  with KeptFile(path) as file:
    file.write("a", {"said": "x" * 100, "tokens": (3, 4)})
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))
    try:
      with pytest.raises(EndpointError, match="File too large"):
        file.write("b", {"said": "y" * 100, "tokens": (5, 6)})
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == size and "b" not in file
    file.write("c", {"said": "z", "tokens": (7, 8)})
  with KeptFile(path) as file:
    assert file.line("c")["said"] == "z" and file.line("b") is None
    assert len(file) == 2 and file.tokens == (10, 12)


def test_digests_are_of_all_that_is_asked():
  asked = [("m", {"a": 1}), ("m", {"a": 2}), ("n", {"a": 1}), ("m", {"a": "1"})]
  assert len({kept.digest(*each) for each in asked}) == 4
  assert kept.digest({"a": 1, "b": 2}) == kept.digest({"b": 2, "a": 1})
