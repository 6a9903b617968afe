"""Which questions are asked: spread evenly, one a clip, always the same."""

import collections

import made_up_scenes
import pytest

from ltu_jax.evaluate import items


@pytest.fixture
def source():
  return made_up_scenes.source(made_up_scenes.scenes())


def clips(chosen):
  return [item.question.clip for item in chosen]


def test_one_question_a_clip(source):
  single = items.choose_single_events(source, 100)
  assert sorted(clips(single)) == list(range(12))
  assert {item.question.task for item in single} == {"cla_label"}
  several = items.choose_several_events(source, 100)
  assert clips(several) == list(range(12, 20))
  assert {item.question.task for item in several} == {"temporal_order"}


def test_truth_and_recordings(source):
  single = {i.question.clip: i for i in items.choose_single_events(source, 100)}
  assert single[3].truth == ("fire",)
  assert single[3].recordings == ("fire 1",)
  assert single[11].truth == ("dog, barking",)
  several = items.choose_several_events(source, 100)
  assert several[-1].truth == ("fire", "bell", "dog, barking")
  assert several[-1].recordings == ("Bell 1", "Dog, barking 1", "Fire 1")


def test_few_items_are_spread_over_classes_and_recordings(source):
  chosen = items.choose_single_events(source, 6)
  assert collections.Counter(item.truth for item in chosen) == {
    ("fire",): 2,
    ("bell",): 2,
    ("dog, barking",): 2,
  }
  fires = [item for item in chosen if item.truth == ("fire",)]
  assert {item.recordings for item in fires} == {("fire 0",), ("fire 1",)}


def test_few_orders_keep_the_mixture(source):
  chosen = items.choose_several_events(source, 4)
  assert [len(item.truth) for item in chosen] == [2, 2, 2, 3]


def test_choice_is_always_the_same(source):
  again = made_up_scenes.source(made_up_scenes.scenes())
  for choose in (items.choose_single_events, items.choose_several_events):
    assert choose(source, 5) == choose(again, 5)


def test_clips_of_unknown_recordings_stand_for_themselves():
  records = made_up_scenes.scenes()[:4]
  for record in records:
    del record["events"]
  source = made_up_scenes.source(records)
  chosen = items.choose_single_events(source, 3)
  assert [item.recordings for item in chosen] == [
    ("scene-0",),
    ("scene-1",),
    ("scene-2",),
  ]


def test_data_set_without_a_task(source):
  captions = made_up_scenes.source(made_up_scenes.scenes()[:3])
  # No clip of these has several sounds.
  assert (
    items.choose_several_events(captions.select(tasks=["cla_label"]), 9) == []
  )
