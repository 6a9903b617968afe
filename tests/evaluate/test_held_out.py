"""Scores of answerers whose scores are known."""

import math

import made_up_scenes
import pytest

from configs import base
from ltu_jax.evaluate import held_out
from ltu_jax.evaluate.score import Score

SETTINGS = held_out.Settings(items=100, batch_size=5, max_new_tokens=8)


@pytest.fixture
def source():
  return made_up_scenes.source(made_up_scenes.scenes())


def listener(questions, with_audio):
  """Answers rightly if it hears."""
  return [q.output if with_audio else "I hear nothing." for q in questions]


def constant(labels, order):
  """Answers always the same, heard or not."""

  def answer(questions, with_audio):
    return [labels if q.task == "cla_label" else order for q in questions]

  return answer


def test_perfect_answers(source):
  result = held_out.evaluate_answers(listener, source, SETTINGS)
  assert result.labels == Score(12, 12)
  assert result.labels_no_audio == Score(0, 12)
  assert result.order == Score(8, 8)
  assert result.order_no_audio == Score(0, 8)
  assert result.order_given_labels == Score(8, 8)
  assert result.per_class == {
    "bell": Score(4, 4),
    "dog, barking": Score(2, 2),
    "fire": Score(6, 6),
  }
  # Two fires, one bell, one dog.
  assert result.recordings == 4


def test_chances(source):
  result = held_out.evaluate_answers(listener, source, SETTINGS)
  assert result.labels_chance == pytest.approx(1 / 3)
  assert result.labels_majority == pytest.approx(6 / 12)
  # Of 8 * 7 ordered pairs, 4 * 3 + 2 * 1 + 2 * 1 are alike.
  assert result.order_chance == pytest.approx(16 / 56)
  # Six pairs and two triples.
  assert result.order_given_labels_chance == pytest.approx((6 / 2 + 2 / 6) / 8)


def test_constant_answers_score_the_shares_of_the_truth(source):
  answer = constant("Labels: Bell", "First Bell, then Fire")
  result = held_out.evaluate_answers(answer, source, SETTINGS)
  assert result.labels == result.labels_no_audio == Score(4, 12)
  assert result.order == result.order_no_audio == Score(2, 8)
  # Six clips have these two sounds.
  assert result.order_given_labels == Score(2, 6)
  assert result.order_given_labels_chance == pytest.approx(1 / 2)


def test_naming_every_class_does_not_count(source):
  answer = constant("Labels: Bell; Fire; Dog, barking", "Bell Fire Dog")
  result = held_out.evaluate_answers(answer, source, SETTINGS)
  assert (result.labels.hits, result.order.hits) == (0, 0)
  assert result.order_given_labels == Score(0, 0)
  assert math.isnan(result.order_given_labels_chance)


def test_guessing_by_the_wording_is_seen_without_audio(source):
  """An answerer that listens to the words alone."""

  def answer(questions, with_audio):
    kinds = {"What can be heard?": "Fire", "Name the sounds.": "Bell"}
    return [f"Labels: {kinds.get(q.instruction)}" for q in questions]

  result = held_out.evaluate_answers(answer, source, SETTINGS)
  assert result.labels == result.labels_no_audio
  # Clips 0 and 3 (fire) and 7 (bell): wording is number modulo 3.
  assert result.labels.hits == 3


def test_batches(source):
  sizes = {True: [], False: []}

  def answer(questions, with_audio):
    sizes[with_audio].append(len(questions))
    return [""] * len(questions)

  held_out.evaluate_answers(answer, source, SETTINGS)
  # 12 and 8 items in batches of at most 5, of nearly one size.
  assert sizes[True] == [4, 4, 4, 4, 4]
  # Three wordings of labels, one of order: each asked once.
  assert sizes[False] == [3, 1]


def test_tells_progress(source, monkeypatch):
  now = iter(range(0, 1000, 3))
  monkeypatch.setattr(held_out.time, "monotonic", lambda: next(now))
  lines = []
  held_out.evaluate_answers(listener, source, SETTINGS, lines.append)
  # The clock goes 3 s a look, and a line comes after more than 5 s.
  assert lines == [
    "evaluating labels 8/12",
    "evaluating without audio 3/3",
    "evaluating order 8/8",
  ]


def test_line(source):
  answer = constant("Labels: Bell", "First Bell, then Fire")
  result = held_out.evaluate_answers(answer, source, SETTINGS)
  assert result.line() == (
    "labels 0.33 of 12 (chance 0.33, no audio 0.33)  "
    "order 0.25 of 8 (chance 0.29, no audio 0.25)"
  )


def test_nothing_to_ask(source):
  captions = source.select(tasks=["caption"])
  result = held_out.evaluate_answers(listener, captions, SETTINGS)
  assert result.line() == "no questions about labels or order"
  assert result.as_json()["labels_chance"] is None
  assert result.as_json()["labels"]["count"] == 0


def test_settings_come_from_the_config():
  config = base.get_config()
  config.eval.batch_size = 7
  config.eval.max_new_tokens = 9
  assert held_out.settings(config, 3) == held_out.Settings(3, 7, 9)
