"""CIDEr-D, BLEU and ROUGE-L against pycocoevalcap."""

import contextlib
import io

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from ltu_jax.evaluate.captions import bleu, rouge
from ltu_jax.evaluate.captions.cider import CiderD
from made_up_captions import EDGES, corpus

# Both sum the same float64 terms, in another order.
_CLOSE = {"rtol": 1e-9, "atol": 1e-12}

_RANDOM = {
  f"{items} items, {references} references, at least {least}": corpus(
    10 * items + references, items, references, least
  )
  for items in (1, 2, 40)
  for references in (1, 5)
  for least in (0, 1)
}
_CASES = EDGES | _RANDOM


@pytest.fixture(params=_CASES, name="case")
def _case(request):
  return _CASES[request.param]


def _theirs(metric, answers, references):
  """Score of the set and of each item."""
  with contextlib.redirect_stdout(io.StringIO()):  # BLEU prints.
    return metric.compute_score(
      dict(enumerate(references)), {i: [a] for i, a in enumerate(answers)}
    )


def test_cider(case):
  answers, references = case
  ours = CiderD(references).score(answers)
  corpus_score, items = _theirs(Cider(), answers, references)
  np.testing.assert_allclose(ours, items, **_CLOSE)
  np.testing.assert_allclose(ours.mean(), corpus_score, **_CLOSE)


def test_bleu(case):
  answers, references = case
  stats = bleu.statistics(answers, references)
  corpus_score, items = _theirs(Bleu(4), answers, references)
  np.testing.assert_allclose(bleu.corpus_bleu(stats), corpus_score, **_CLOSE)
  np.testing.assert_allclose(bleu.item_bleu(stats).T, items, **_CLOSE)


def test_rouge(case):
  answers, references = case
  ours = rouge.rouge_l(answers, references)
  corpus_score, items = _theirs(Rouge(), answers, references)
  np.testing.assert_allclose(ours, items, **_CLOSE)
  np.testing.assert_allclose(ours.mean(), corpus_score, **_CLOSE)


def test_bleu_of_items_taken_several_times():
  answers, references = corpus(7, 12, 3, 1)
  stats = bleu.statistics(answers, references)
  rng = np.random.default_rng(0)
  chosen = rng.integers(12, size=(4, 12))
  counts = np.stack([np.bincount(row, minlength=12) for row in chosen])
  expected = [
    _theirs(Bleu(4), [answers[i] for i in row], [references[i] for i in row])[0]
    for row in chosen
  ]
  ours = bleu.corpus_bleu(stats, counts)
  np.testing.assert_allclose(ours, expected, **_CLOSE)
  np.testing.assert_allclose(
    bleu.corpus_bleu(stats, counts[0]), ours[0], **_CLOSE
  )


def test_maxima_of_an_answer_that_is_a_reference():
  answers = ["a dog barks loudly", "rain falls on a roof", "two men talk now"]
  references = [[a] for a in answers]
  # The mean of four cosines of 1, times 10.
  np.testing.assert_allclose(CiderD(references).score(answers), 10, rtol=1e-12)
  assert rouge.rouge_l(answers, references) == pytest.approx([1, 1, 1])
  stats = bleu.statistics(answers, references)
  # The constant below the line is 1e-9 of a run of words.
  assert bleu.corpus_bleu(stats) == pytest.approx([1] * 4, abs=1e-8)


def test_a_single_clip_has_no_rare_words():
  assert CiderD([["a dog barks"]]).score(["a dog barks"]) == [0.0]


def test_nothing_at_all():
  assert CiderD([]).score([]).shape == (0,)
  assert bleu.statistics([], []).shape == (0, 10)
  assert rouge.rouge_l([], []).shape == (0,)
