"""Asking all items: the files, what is asked again, and what is refused."""

import pathlib

import numpy as np
import pytest

from ltu_jax import sampling
from ltu_jax.answers.answerer import Answer
from ltu_jax.answers.likelihood import Scores
from ltu_jax.ask.asking import Way
from ltu_jax.evaluate import likelihoods
from ltu_jax.evaluate.asked import Replies, ask_all, differences
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets.spec import Item
from wav_bytes import wav

WAY = Way(sampling.PUBLISHED)


def items(folder, count=4, bad=()):
  made = []
  for n in range(count):
    path = pathlib.Path(folder / f"{n}.wav")
    path.write_bytes(b"no sound" if n in bad else wav(1))
    made.append(Item(f"i{n}", path.name, path, f"What {n}?", (f"t{n}",)))
  return made


class Parrot:
  """Answers with the question, up to a number of questions."""

  def __init__(self, most=100):
    self.asked, self.most = [], most

  def answers(self, questions):
    for number, question in enumerate(questions):
      if number == self.most:
        raise KeyboardInterrupt
      self.asked.append(question.text)
      yield number, Answer(question.text, "stop", 1, 1, 0, 0.0)


def ask(found, parrot, folder, how=None):
  said = []
  replies = ask_all(
    found, parrot.answers, WAY, folder / "asked/a", how or {}, said.append
  )
  return replies, said


def test_what_was_answered_is_not_asked_again(tmp_path):
  found = items(tmp_path)
  with pytest.raises(KeyboardInterrupt):
    ask(found, Parrot(most=2), tmp_path)
  parrot = Parrot()
  replies, said = ask(found, parrot, tmp_path)
  assert parrot.asked == ["What 2?", "What 3?"]
  assert replies == [Replies((f"What {n}?",)) for n in range(4)]
  assert said == ["a: 2 of 4 were done before"]
  assert ask(found, Parrot(most=0), tmp_path)[0] == replies


def test_a_sound_that_cannot_be_read_is_named_and_tried_again(tmp_path):
  found = items(tmp_path, bad=[1])
  replies, said = ask(found, Parrot(), tmp_path)
  assert (
    replies[1].texts == () and "1.wav: cannot be decoded" in replies[1].error
  )
  assert [bool(r.texts) for r in replies] == [True, False, True, True]
  assert len(said) == 1 and "1.wav: cannot be decoded" in said[0]
  found = items(tmp_path)
  parrot = Parrot()
  replies, _ = ask(found, parrot, tmp_path)
  assert parrot.asked == ["What 1?"] and replies[1] == Replies(("What 1?",))


def test_answers_given_in_another_way_are_refused(tmp_path):
  found = items(tmp_path)
  how = {"decode": {"temperature": 0.1}, "samples": 1}
  ask(found, Parrot(), tmp_path, how)
  other = {"decode": {"temperature": 0.0}, "samples": 1}
  with pytest.raises(EvaluateError) as error:
    ask(found, Parrot(), tmp_path, other)
  assert "decode.temperature: 0.1, now 0.0" in str(error.value)
  assert "--again" in str(error.value)


def test_differences_are_named():
  a = {"x": {"y": 1, "z": [1]}, "only": 1}
  b = {"x": {"y": 2, "z": [1]}, "new": None}
  assert differences(a, b) == ["x.y: 1, now 2", "only: 1, now null"]
  assert differences(a, a) == []


class Counter:
  """Scores each question by its number in the text."""

  def __init__(self, most=100):
    self.asked, self.most = [], most

  def scores(self, questions):
    for number, question in enumerate(questions):
      if number == self.most:
        raise KeyboardInterrupt
      self.asked.append(question.text)
      value = float(question.text[5])
      yield (
        number,
        Scores(np.array([value, -value], "f4"), np.array([2, 3], "i4")),
      )


def score(found, counter, folder):
  return likelihoods.score_all(
    found, counter, 2, folder / "asked/b", {}, lambda _: None
  )


def test_scores_are_kept_whole(tmp_path):
  found = items(tmp_path, bad=[1])
  with pytest.raises(KeyboardInterrupt):
    score(found, Counter(most=2), tmp_path)
  file = tmp_path / "asked/b.scores"
  whole = file.read_bytes()
  assert len(whole) == 2 * (8 + 8 + 8 + 4)
  # A record that was half written, and one with a flipped bit.
  for damaged in (whole[:-5], whole[:-10] + b"x" + whole[-9:]):
    file.write_bytes(damaged)
    counter = Counter()
    scores = score(found, counter, tmp_path)
    assert counter.asked == ["What 2?", "What 3?"]
    assert "1.wav: cannot be decoded" in scores[1]
    for n in (0, 2, 3):
      assert scores[n].total.tolist() == [n, -n]
      assert scores[n].tokens.tolist() == [2, 3]
