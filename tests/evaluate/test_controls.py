"""What is heard in place of the right clips."""

import pathlib

from ltu_jax.evaluate import controls
from ltu_jax.evaluate.sets.spec import Item

ITEMS = [
  Item(f"i{n}", f"{n}.wav", pathlib.Path(f"{n}.wav"), "What?", (f"t{n}",))
  for n in range(7)
]


def test_each_clip_is_heard_once_and_never_by_its_own_item():
  for seed in range(20):
    found = controls.shuffled(ITEMS, seed)
    assert [i.audio for i in found] != [i.audio for i in ITEMS]
    assert all(a.audio != b.audio for a, b in zip(found, ITEMS, strict=True))
    assert sorted(i.audio for i in found) == [i.audio for i in ITEMS]
    assert all(i.path.name == i.audio for i in found)
    assert [(i.id, i.truth) for i in found] == [(i.id, i.truth) for i in ITEMS]


def test_the_order_is_the_seeds():
  assert controls.shuffled(ITEMS, 3) == controls.shuffled(ITEMS, 3)
  orders = {tuple(i.audio for i in controls.shuffled(ITEMS, s)) for s in (0, 1)}
  assert len(orders) == 2


def test_silence_has_no_clip():
  for item in controls.heard_as("silent", ITEMS, 0):
    assert (item.audio, item.path, item.read) == ("", None, None)


def test_no_control_changes_nothing():
  assert controls.heard_as("", ITEMS, 0) == ITEMS
  assert controls.shuffled(ITEMS[:1], 0) == ITEMS[:1]
