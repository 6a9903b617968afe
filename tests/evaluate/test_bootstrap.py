import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from ltu_jax.evaluate import bootstrap, measures

# Double precision, sums in another order.
ROUNDING = 1e-12


def random_case(items=60, classes=5):
  """Truths, rare in the last class, and scores with ties."""
  rng = np.random.default_rng(3)
  truth = rng.random((items, classes)) < [0.5, 0.3, 0.2, 0.1, 0.0]
  truth[0, -1] = True
  scores = np.round(truth * 0.5 + rng.normal(size=truth.shape), 1)
  return truth, scores


def resampled(draw):
  """The items of a draw, each as often as it was drawn."""
  return np.repeat(np.arange(len(draw)), draw.astype(int))


def test_draws_are_as_many_items_and_repeatable():
  draws = bootstrap.draw(17, 50, seed=4)
  assert draws.shape == (50, 17)
  assert (draws.sum(axis=1) == 17).all()
  np.testing.assert_array_equal(draws, bootstrap.draw(17, 50, seed=4))
  assert (draws != bootstrap.draw(17, 50, seed=5)).any()


def test_the_interval_of_a_mean_is_scipys_of_the_same_draws():
  values = np.random.default_rng(0).normal(size=40)
  theirs = stats.bootstrap(
    (values,),
    np.mean,
    n_resamples=500,
    method="percentile",
    rng=np.random.default_rng(7),
  ).confidence_interval
  draws = bootstrap.draw(40, 500, seed=7)
  ours = bootstrap.interval(bootstrap.of_mean(values, draws))
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)


def test_weighted_average_precision_is_sklearns_of_the_resampled_items():
  truth, scores = random_case()
  draws = bootstrap.draw(len(truth), 40)
  every, present = bootstrap.of_mean_average_precision(truth, scores, draws)
  absent = 0
  for draw, ours, over_present in zip(draws, every, present, strict=True):
    items = resampled(draw)
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      theirs = [
        metrics.average_precision_score(truth[items, k], scores[items, k])
        for k in range(truth.shape[1])
      ]
    found = truth[items].any(axis=0)
    absent += (~found).sum()
    assert ours == pytest.approx(np.mean(theirs), abs=ROUNDING)
    assert over_present == pytest.approx(
      np.mean(np.array(theirs)[found]), abs=ROUNDING
    )
  # A class with one positive is not in a draw by 1 / e.
  assert absent > 5


def test_weighted_average_precision_of_ones_is_the_measure():
  truth, scores = random_case(items=200)
  ones = np.ones((1, 200), np.float32)
  every, present = bootstrap.of_mean_average_precision(truth, scores, ones)
  means = measures.mean_average_precision(truth, scores)
  assert every[0] == pytest.approx(means.all_classes, abs=ROUNDING)
  assert present[0] == pytest.approx(means.present_classes, abs=ROUNDING)


def test_micro_f1_is_sklearns_of_the_resampled_items():
  truth, scores = random_case()
  draws = bootstrap.draw(len(truth), 40)
  ours = bootstrap.of_micro_f1(truth, scores > 0.5, draws)
  for draw, value in zip(draws, ours, strict=True):
    items = resampled(draw)
    theirs = metrics.f1_score(
      truth[items], scores[items] > 0.5, average="micro", zero_division=0
    )
    assert value == pytest.approx(theirs, abs=ROUNDING)


def test_micro_f1_of_one_label_an_item_is_the_mean_of_hits():
  rng = np.random.default_rng(1)
  truth, said = rng.integers(0, 4, (2, 50))
  draws = bootstrap.draw(50, 100)
  np.testing.assert_allclose(
    bootstrap.of_micro_f1(
      measures.one_hot(truth, 4), measures.one_hot(said, 4), draws
    ),
    bootstrap.of_mean(truth == said, draws),
    rtol=0,
    atol=ROUNDING,
  )


@pytest.mark.parametrize("items", [1, 30])
def test_what_is_always_right_has_an_interval_of_one_point(items):
  truth = np.random.default_rng(2).random((items, 3)) < 0.5
  truth[0] = True
  draws = bootstrap.draw(items, 200)
  _, present = bootstrap.of_mean_average_precision(truth, 1.0 * truth, draws)
  # A class that a draw lacks is not counted, and no draw lacks all of them.
  low, high = bootstrap.interval(present)
  assert (low, high) == (1.0, 1.0)
  assert bootstrap.interval(bootstrap.of_mean(np.ones(items), draws)) == (1, 1)
