"""What a run may go on with, what it says then, and what it refuses."""

import jax
import pytest

import ltu_jax
from checkpoint_states import mesh
from ltu_jax import resume
from ltu_jax.checkpoint import CheckpointError

NOW = dict(base="b", data="d", tokenizer="t")


def changed(group, **facts):
  """Metadata of a checkpoint with other facts than this run's."""
  now = resume.metadata(**NOW, mesh=mesh(2, 4))
  return now | {group: now[group] | facts}


def check(saved, allow=()):
  now = resume.metadata(**NOW, mesh=mesh(2, 4))
  return resume.check(saved, now, allow, "stage1")


def test_the_same_is_not_worth_a_word():
  assert check(resume.metadata(**NOW, mesh=mesh(2, 4))) == []


@pytest.mark.parametrize(
  "fact, old, new",
  [
    ("ltu_jax", "0.0.9", ltu_jax.__version__),
    ("JAX", "0.9.2", jax.__version__),
    ("processes", "16", "1"),
    ("devices", "64 x TPU v5 lite", "8 x cpu"),
    ("mesh", "data 1, fsdp 64", "data 2, fsdp 4"),
  ],
)
def test_where_it_runs_may_change_and_is_told(fact, old, new):
  assert check(changed("made_on", **{fact: old})) == [f"{fact}: {old} -> {new}"]


@pytest.mark.parametrize("fact", ["base", "data", "tokenizer"])
def test_what_it_is_made_of_may_not_unless_allowed(fact):
  saved = changed("made_of", **{fact: "other"})
  words = (
    rf"^stage1: .* another {fact}:\n  {fact}: other -> .\n.*--allow={fact}$"
  )
  with pytest.raises(CheckpointError, match=words):
    check(saved)
  assert check(saved, allow=[fact]) == []


def test_all_differences_are_named():
  saved = changed("made_of", base="x", data="y")
  with pytest.raises(CheckpointError, match="--allow=base,data"):
    check(saved)
  with pytest.raises(CheckpointError, match="--allow=data"):
    check(saved, allow=["base"])
