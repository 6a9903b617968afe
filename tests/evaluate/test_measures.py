import warnings

import numpy as np
import pytest
from sklearn import metrics

from ltu_jax.evaluate import measures

# Sums of at most some hundred fractions in double precision, in another order.
ROUNDING = 1e-12


def random_case(seed, items=200, classes=12):
  """Truths and scores with many ties; the last class has no positive."""
  rng = np.random.default_rng(seed)
  truth = rng.random((items, classes)) < rng.uniform(0.02, 0.7, classes)
  truth[:, -1] = False
  scores = np.round(truth * 0.3 + rng.normal(size=(items, classes)), seed % 3)
  return truth, scores.astype(np.float32)


def sklearn_precisions(truth, scores):
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return [
      metrics.average_precision_score(*pair)
      for pair in zip(truth.T, scores.T, strict=True)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_sklearns(seed):
  truth, scores = random_case(seed)
  ours = measures.average_precision(truth, scores)
  theirs = sklearn_precisions(truth, scores)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)
  assert ours[-1] == 0
  means = measures.mean_average_precision(truth, scores)
  assert means.all_classes == pytest.approx(np.mean(theirs), abs=ROUNDING)
  assert means.present_classes == pytest.approx(
    np.mean(theirs[:-1]), abs=ROUNDING
  )


@pytest.mark.parametrize(
  ("truth", "scores"),
  [
    ([1], [0.3]),
    ([0], [0.3]),
    ([1, 1, 1], [0.1, 0.2, 0.2]),
    ([0, 1, 1, 0], [0.5, 0.5, 0.5, 0.5]),
    ([1, 0, 0, 0], [-1.0, 0.0, 0.0, 2.0]),
    ([0, 0, 1], [0.0, -0.0, 0.0]),
  ],
)
def test_average_precision_of_few_items_is_sklearns(truth, scores):
  truth, scores = np.array(truth)[:, None], np.array(scores)[:, None]
  ours = measures.average_precision(truth, scores)
  theirs = sklearn_precisions(truth, scores)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)


def test_constant_scores_get_the_share_of_positives():
  truth, _ = random_case(0)
  constant = np.full(truth.shape, 0.25)
  ours = measures.average_precision(truth, constant)
  np.testing.assert_allclose(ours, truth.mean(axis=0), rtol=0, atol=ROUNDING)


def test_perfect_scores_get_one():
  truth, _ = random_case(1)
  ours = measures.average_precision(truth, truth.astype(float))
  assert ours[:-1].tolist() == [1.0] * (truth.shape[1] - 1)
  means = measures.mean_average_precision(truth, truth.astype(float))
  assert means.present_classes == 1.0
  assert means.all_classes == 1 - 1 / truth.shape[1]
  assert measures.f1(truth, truth).micro == 1.0


def test_nothing_present_is_zero_and_not_nan():
  nothing = np.zeros((4, 3), bool)
  means = measures.mean_average_precision(nothing, np.ones((4, 3)))
  assert (means.all_classes, means.present_classes) == (0.0, 0.0)
  assert measures.f1(nothing, nothing) == measures.F1(0.0, 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_f1_is_sklearns(seed):
  truth, scores = random_case(seed)
  said = scores > 0.4
  ours = measures.f1(truth, said)
  for name, value in (("micro", ours.micro), ("macro", ours.macro)):
    theirs = metrics.f1_score(truth, said, average=name, zero_division=0)
    assert value == pytest.approx(theirs, abs=ROUNDING)


@pytest.mark.parametrize(("items", "classes"), [(300, 7), (1, 3), (5, 2)])
def test_one_label_an_item_is_sklearns(items, classes):
  rng = np.random.default_rng(items)
  truth, said = rng.integers(0, classes, (2, items))
  accuracy = metrics.accuracy_score(truth, said)
  hot = [measures.one_hot(one, classes) for one in (truth, said)]
  assert measures.f1(*hot).micro == pytest.approx(accuracy, abs=ROUNDING)
  np.testing.assert_array_equal(
    measures.confusion(truth, said, classes),
    metrics.confusion_matrix(truth, said, labels=range(classes)),
  )
