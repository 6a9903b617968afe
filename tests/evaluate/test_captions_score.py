"""Captions scored as a whole, against pycocoevalcap trial by trial."""

import contextlib
import io
import math
import random
import string

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from ltu_jax.evaluate.captions import similarity
from ltu_jax.evaluate.captions.score import (
  NAMES,
  clean,
  clean_reference,
  score,
)
from ltu_jax.evaluate.errors import EvaluateError
from made_up_captions import caption

# The same float64 terms in another order.
_CLOSE = {"rtol": 1e-9, "atol": 1e-12}

_BY_TRIAL = ("CIDEr-D", "ROUGE-L", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")


class _Letters:
  """Embeds a text by how often it has each letter, scaled to length 1."""

  name = "letters"

  def __init__(self):
    self.asked = []

  def __call__(self, texts):
    self.asked += texts
    rows = [[text.count(c) for c in string.ascii_lowercase] for text in texts]
    rows = np.array(rows, np.float32) + 1e-3
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _made_up(items=30, trials=5, references=5, seed=0):
  """Answers with their prompt, and references, with capitals and signs."""
  rng = random.Random(seed)
  true = [
    [_write(caption(rng, 3, 9)) for _ in range(references)]
    for _ in range(items)
  ]
  said = [
    [
      "Audio caption: "
      + (rng.choice(clip) if rng.random() < 0.5 else _write(caption(rng, 1, 9)))
      for _ in range(trials)
    ]
    for clip in true
  ]
  return said, true


def _write(text):
  return text.capitalize().replace(" and", ", and") + "."


def _values(scores):
  return {metric.name: metric.value for metric in scores.metrics}


@pytest.fixture(name="scores", scope="module")
def _scores():
  return score(*_made_up(), embedder=_Letters(), java=False)


def test_trials_and_items_against_pycocoevalcap(scores):
  said, true = _made_up()
  texts = {
    f"true {i}": [{"caption": clean_reference(text)} for text in clip]
    for i, clip in enumerate(true)
  } | {
    f"said {i}": [{"caption": clean(text)} for text in samples]
    for i, samples in enumerate(said)
  }
  tokens = PTBTokenizer().tokenize(texts)
  references = {i: tokens[f"true {i}"] for i in range(len(true))}
  expected = {name: [] for name in _BY_TRIAL}
  by_item = {name: [] for name in _BY_TRIAL}
  for t in range(5):
    answers = {i: [tokens[f"said {i}"][t]] for i in range(len(said))}
    with contextlib.redirect_stdout(io.StringIO()):  # BLEU prints.
      results = [
        m.compute_score(references, answers)
        for m in (Cider(), Rouge(), Bleu(4))
      ]
    names = _BY_TRIAL
    whole = [results[0][0], results[1][0], *results[2][0]]
    items = [results[0][1], results[1][1], *results[2][1]]
    for name, value, values in zip(names, whole, items, strict=True):
      expected[name].append(value)
      by_item[name].append(values)
  for metric in scores.metrics:
    if metric.name in _BY_TRIAL:
      of_trials = expected[metric.name]
      np.testing.assert_allclose(
        scores.trials[metric.name], of_trials, **_CLOSE
      )
      np.testing.assert_allclose(metric.value, np.mean(of_trials), **_CLOSE)
      np.testing.assert_allclose(metric.deviation, np.std(of_trials), **_CLOSE)
      np.testing.assert_allclose(
        scores.items[metric.name], np.mean(by_item[metric.name], 0), **_CLOSE
      )


def test_all_metrics_in_order_and_why_some_have_no_value(scores):
  assert tuple(metric.name for metric in scores.metrics) == NAMES
  found = {metric.name: metric for metric in scores.metrics}
  assert [name for name in NAMES if found[name].headline] == ["SPICE"]
  for name in ("SPICE", "METEOR"):
    assert found[name].value is None
    assert found[name].note.startswith("not computed: ")
    assert name not in scores.items
  assert all(metric.count == 30 for metric in scores.metrics)
  assert all(metric.low is None for metric in scores.metrics)
  without = score([["x: a"]], [["a"]], java=False)
  assert "no text embedder" in without.metrics[-1].note


def test_resample(scores):
  rng = np.random.default_rng(1)
  chosen = rng.integers(30, size=(3, 30))
  counts = np.stack([np.bincount(row, minlength=30) for row in chosen])
  said, true = _made_up()
  again = [
    score([said[i] for i in row], [true[i] for i in row], java=False)
    for row in chosen
  ]
  for name, resample in scores.resample.items():
    ours = resample(counts)
    assert ours.shape == (3,)
    np.testing.assert_allclose(resample(counts[0]), ours[0], **_CLOSE)
    np.testing.assert_allclose(
      resample(np.ones(30)), scores.trials[name].mean(), **_CLOSE
    )
    if name.startswith(("BLEU", "ROUGE")):
      expected = [_values(scores)[name] for scores in again]
      np.testing.assert_allclose(ours, expected, **_CLOSE)
    else:
      expected = scores.items[name][chosen].mean(axis=1)
      np.testing.assert_allclose(ours, expected, **_CLOSE)


def test_perfect_constant_and_shuffled_answers():
  _, true = _made_up(references=1)
  embedder = _Letters()
  perfect = _values(
    score([[f"x: {c[0]}"] for c in true], true, embedder, False)
  )
  constant = _values(score([["x: a dog barks"]] * 30, true, embedder, False))
  shuffled = _values(
    score([[f"x: {c[0]}"] for c in true[1:] + true[:1]], true, embedder, False)
  )
  assert perfect["ROUGE-L"] == pytest.approx(1)
  # float32 vectors of length 1.
  assert perfect["sentence similarity"] == pytest.approx(1, abs=1e-6)
  # 1e-9 of a word is added below the line.
  assert perfect["BLEU-4"] == pytest.approx(1, abs=1e-8)
  # A mean over four lengths of run; captions of three words have no fourth.
  short = sum(len(c[0].split()) < 4 for c in true)
  assert perfect["CIDEr-D"] == pytest.approx(10 - 2.5 * short / 30)
  for name, value in perfect.items():
    if value is not None:
      assert shuffled[name] < value
      assert constant[name] < value
  assert constant["CIDEr-D"] < 1


def test_one_item():
  scores = score([["x: a dog barks"]], [["A dog barks."]], java=False)
  cider = next(m for m in scores.metrics if m.name == "CIDEr-D")
  assert cider.value == 0
  assert "one clip" in cider.note
  # One trial has no deviation.
  assert cider.deviation is None


def test_no_items():
  scores = score([], [])
  assert [metric.value for metric in scores.metrics] == [None] * len(NAMES)
  assert not scores.items


@pytest.mark.parametrize(
  ("answer", "caption"),
  [
    ("Audio caption: A dog barks, loudly.", "a dog barks loudly"),
    # The published code takes what follows the last colon, less a character.
    ("Audio caption: At 10:30, a bell", "0 a bell"),
    ("Audio caption:A dog", " dog"),
    ("A dog barks.", " dog barks"),
    ('x: \n a dog\'s  "bark"', "\n a dogs  bark"),
    ("Audio caption:", ""),
    ("Audio caption: ", ""),
    ("", ""),
    ("x: Café – naïve’s", "café – naïve’s"),  # noqa: RUF001
  ],
)
def test_clean(answer, caption):
  assert clean(answer) == caption


def test_clean_reference():
  assert clean_reference("A dog barks, loudly.") == "a dog barks loudly"
  assert clean_reference("At 10:30 a bell") == "0 a bell"
  assert clean_reference("") == ""


def test_similarity_is_the_mean_cosine_and_asks_once():
  embedder = _Letters()
  found = similarity.similarity(
    ["ab", "ab", " "], [["ab", "cd"], ["a"], ["a"]], embedder
  )
  # Each letter has 1e-3 more: below 0.1 % of a cosine times 26 letters.
  assert found == pytest.approx([0.5, math.sqrt(0.5), 0], abs=2e-2)
  assert found[2] == 0
  assert sorted(embedder.asked) == sorted(set(embedder.asked))
  assert similarity.similarity([], [], embedder).shape == (0,)


@pytest.mark.parametrize(
  ("answers", "references", "message"),
  [
    ([["a"]], [], "1 items have answers and 0 references"),
    ([["a"], ["a", "b"]], [["a"], ["a"]], "Item 1 has 2 answers and the first"),
    ([[]], [["a"]], "Item 0 has 0 answers"),
    ([["a"], ["b"]], [["a"], []], "Item 1 has no reference"),
  ],
)
def test_numbers_that_do_not_fit(answers, references, message):
  with pytest.raises(EvaluateError, match=message):
    score(answers, references, java=False)
