"""Counters in bounded memory, against counting everything."""

import random
from collections import Counter

import numpy as np
import pytest

from ltu_jax.aqa.quality import charts, diversity
from ltu_jax.aqa.quality.distinct import Distinct
from ltu_jax.aqa.quality.diversity import Diversity
from ltu_jax.aqa.quality.frequent import Frequent
from ltu_jax.aqa.quality.lengths import MOST, Lengths
from ltu_jax.aqa.quality.question_types import question_type
from ltu_jax.aqa.quality.words import words


@pytest.mark.parametrize("number", [0, 1, 255, 256])
def test_few_different_things_are_counted_exactly(number):
  rng = np.random.default_rng(0)
  hashes = rng.integers(0, 1 << 64, number, np.uint64)
  distinct = Distinct(256)
  for _ in range(20):
    distinct.add(rng.permutation(hashes)[: rng.integers(number + 1)])
  distinct.add(hashes)
  assert distinct.count == number and distinct.is_exact


def test_many_different_things_are_estimated():
  rng = np.random.default_rng(0)
  hashes = rng.integers(0, 1 << 64, 100_000, np.uint64)
  distinct = Distinct(1024)
  for part in np.split(hashes, 100):
    distinct.add(np.concatenate([part, part[:500], hashes[:300]]))
  assert not distinct.is_exact
  # The deviation is 1 / sqrt(1024 - 2), 3 %; four of them.
  assert distinct.count == pytest.approx(100_000, rel=0.125)
  one_more = Distinct(256)
  one_more.add(hashes[:257])
  assert not one_more.is_exact


def test_frequent_texts_are_counted_exactly_or_a_little_too_low():
  rng = random.Random(0)
  # As words are: the n-th is n times rarer than the first.
  texts = rng.choices(range(3000), [1 / (n + 1) for n in range(3000)], k=30_000)
  want = Counter(map(str, texts))
  for most, exact in ((3000, True), (300, False)):
    frequent = Frequent(most)
    for text in texts:
      frequent.add(str(text))
    assert (frequent.low_by == 0) == exact
    # The bound of Misra and Gries.
    assert frequent.low_by <= len(texts) / most
    found = dict(frequent.top(20))
    for text, count in found.items():
      assert want[text] - frequent.low_by <= count <= want[text]
    # Those that stay before the 21st even if they are counted too low.
    (_, next_count) = want.most_common(21)[-1]
    surely = [t for t, n in want.items() if n - frequent.low_by > next_count]
    assert len(surely) >= 5 and set(surely) <= set(found)
    if exact:
      assert frequent.top(20) == want.most_common(20)


def texts_of(count):
  rng = random.Random(0)
  vocabulary = [f"v{i}" for i in range(90)]
  return [
    " ".join(rng.choices(vocabulary, k=rng.randrange(9))) for _ in range(count)
  ]


@pytest.mark.parametrize("waiting", [5, 1 << 16])
def test_diversity_is_that_of_plain_loops(waiting, monkeypatch):
  monkeypatch.setattr(diversity, "_MOST_WAITING", waiting)
  texts, ours = texts_of(700), Diversity()
  for text in texts:
    ours.add(text, words(text))
  got = ours.as_json()
  assert got["texts"]["all"] == 700
  assert got["texts"]["distinct"] == len(set(texts))
  for n in (1, 2, 3):
    grams = []
    for text in texts:
      split = text.split()
      grams += [tuple(split[i : i + n]) for i in range(len(split) - n + 1)]
    want = {
      "all": len(grams),
      "distinct": len(set(grams)),
      "share": len(set(grams)) / len(grams),
      "exact": True,
    }
    assert got["ngrams"][str(n)] == want
  every = " ".join(texts).split()
  assert got["curve"][-1][0] == len(every) and len(got["curve"]) > 8
  for count, different in got["curve"]:
    assert different == len(set(every[:count]))


def test_no_text_has_no_diversity():
  got = Diversity().as_json()
  assert got["texts"] == {"all": 0, "distinct": 0, "share": None, "exact": True}
  assert got["curve"] == []


def test_lengths_are_those_of_numpy():
  rng = np.random.default_rng(0)
  values = rng.integers(0, 60, 301)
  first, second = Lengths(), Lengths()
  for i, value in enumerate(values):
    (first if i % 2 else second).add(int(value))
  first.merge(second)
  got = first.as_json()
  assert got["mean"] == pytest.approx(values.mean(), rel=1e-12)
  assert got["median"] == np.quantile(values, 0.5, method="inverted_cdf")
  assert got["p95"] == np.quantile(values, 0.95, method="inverted_cdf")
  assert got["longest"] == values.max()
  assert first.counts() == np.bincount(values).tolist()
  first.add(10**6)
  assert first.as_json()["longest"] == 10**6
  assert len(first.counts()) == MOST + 1


@pytest.mark.parametrize(
  ("question", "kind"),
  [
    ("What barks?", "what"),
    ("In what order do the sounds begin?", "what"),
    ("Whose dog is it?", "who"),
    ("What\u2019s that?", "what"),
    ("Is it a dog, and why?", "yes or no"),
    ("Doesn't it bark?", "yes or no"),
    ("From when to when does it bark?", "when"),
    ("Describe the bark.", "other"),
    ("", "other"),
  ],
)
def test_types_of_questions(question, kind):
  assert question_type(words(question)) == kind


@pytest.mark.parametrize("top", [1e-3, 0.4, 1, 7, 33.5, 99, 100, 12345.0])
def test_ticks_are_few_and_round(top):
  ticks = charts.nice_ticks(top)
  assert ticks[0] == 0 and 3 <= len(ticks) <= 6
  assert 0.5 * top < ticks[-1] <= top * 1.001
  assert len({f"{n:.3g}" for n in ticks}) == len(ticks)


def points(line):
  return [tuple(map(float, p.split(","))) for p in line.points.split()]


def test_a_histogram_has_the_area_of_its_texts():
  chart = charts.histogram("t", "x", {"a": [0, 3, 1], "b": [], "c": [4]}, "w")
  assert [line.name for line in chart.lines] == ["a", "c"]
  corners = points(chart.lines[0])[1:-1]
  tops = [100 - y for _, y in corners[::2]]
  # 0, 75 and 25 % of the texts; the axis ends at the highest bar, 100 %.
  assert tops == pytest.approx([0, 75, 25], abs=0.01)
  assert [x for x, _ in corners] == pytest.approx(
    [0, 33.33, 33.33, 66.67, 66.67, 100], abs=0.01
  )
  assert charts.histogram("t", "x", {"a": [0]}, "w") is None


def test_a_curve_is_straight_where_it_is_a_power():
  power = [(10**n, 3 * 10 ** (n / 2)) for n in (1, 2, 3, 4)]
  chart = charts.curve("t", "x", "y", {"a": power, "b": [(1, 1)]}, "w")
  (line,) = chart.lines
  (x0, y0), *_, (x1, y1) = points(line)
  assert (x0, x1, y1) == pytest.approx((0, 100, 0), abs=0.01)
  for x, y in points(line):
    assert y == pytest.approx(y0 + (y1 - y0) * (x - x0) / (x1 - x0), abs=0.02)
  assert [tick.text for tick in chart.x_ticks] == ["10", "100", "1k", "10k"]
  assert charts.curve("t", "x", "y", {"b": [(1, 1)]}, "w") is None
