"""What is known beforehand: perfect, constant and deaf answerers, every set."""

import re

import numpy as np
import pytest

import http_script
import made_up_sets
from known_answers import Known
from ltu_jax.evaluate import scoring
from ltu_jax.evaluate.judging.judge import JudgeSettings
from ltu_jax.evaluate.sets import catalog
from ltu_jax.evaluate.sets.spec import (
  CAPTIONS,
  CHOICE,
  CLASSIFICATION,
  OPEN,
  ORDER,
  Found,
  Item,
  Spec,
)

KINDS = {
  kind: [name for name, spec in catalog.SETS.items() if spec.kind == kind]
  for kind in (CLASSIFICATION, CAPTIONS, CHOICE, OPEN)
}


class Distinct:
  """Embeds texts of different words in different directions, nearly.

  Spaces and commas do not count, as in real ones: the published class texts of
  VGGSound have two spaces where an answer has one.
  """

  name = "made up"

  def __call__(self, texts):
    rows = []
    for text in texts:
      words = " ".join(re.findall(r"\w+", text))
      seed = list(words.encode())
      rows.append(np.random.default_rng(seed).normal(size=512))
    rows = np.array(rows, "f4").reshape(len(texts), 512)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
  """Every set, as its owners distribute it."""
  data = tmp_path_factory.mktemp("sets")
  for name in made_up_sets.names():
    made_up_sets.make(data, name, made_up_sets.forms(name)[0])
  return catalog.find_all(data, ["all"])


def perfect(spec, item, labels):
  return item.truth


def score(name, found, answer, **settings):
  spec = catalog.SETS[name]
  there = found[name]
  known = Known(answer, Distinct(), there.labels, draws=50, **settings)
  return scoring.SCORE[spec.kind](known, spec, there, there.items)


def by_protocol(scored, name):
  return {m.protocol: m for m in scored.metrics if m.name == name}


@pytest.mark.parametrize("name", KINDS[CLASSIFICATION])
def test_a_perfect_answerer_has_it_all(name, found):
  spec, there = catalog.SETS[name], found[name]
  protocols = ("published", "labels", "constrained")
  scored = score(name, found, perfect, protocols=protocols)
  single = spec.metric != "mAP"
  metric = by_protocol(
    scored, spec.metric if single else "mAP of classes with items"
  )
  for protocol, value in metric.items():
    assert value.count == len(there.items)
    # A caption that names several classes is one text, and like none of them;
    # and a list ends at a full stop, as in "bee, wasp, etc. buzzing".
    cut = any("." in label for item in there.items for label in item.truth)
    if protocol == "constrained" or (
      not cut if protocol == "labels" else single
    ):
      assert value.value == 1, protocol
      assert (value.low, value.high) == (1, 1)
  headline = [m for m in scored.metrics if m.headline]
  assert [m.protocol for m in headline] == ["published"]
  assert scored.classes.labels == list(there.labels)
  assert sum(scored.classes.count) >= len(there.items)
  if single:
    confusion = np.array(scored.classes.confusion["constrained"])
    assert confusion.trace() == confusion.sum() == len(there.items)


@pytest.mark.parametrize("name", KINDS[CLASSIFICATION])
def test_a_constant_answerer_has_the_share_of_what_it_says(name, found):
  spec, there = catalog.SETS[name], found[name]
  said = there.items[0].truth[:1]
  scored = score(name, found, lambda *_: said)
  share = np.mean([said[0] in item.truth for item in there.items])
  for metric in scored.metrics:
    if metric.name == spec.metric != "mAP":
      assert metric.value == share
    elif metric.name == "mAP":
      # All clips are alike: precision is each class's share, 0 where none is.
      assert metric.value == pytest.approx(metric.chance, rel=1e-12)


@pytest.mark.parametrize("name", KINDS[CHOICE])
def test_choices(name, found):
  right = score(name, found, perfect).metrics[0]
  assert (right.value, right.headline) == (1, True)

  def wrong(spec, item, labels):
    return [c for c in item.choices if c not in item.truth][-1:]

  assert score(name, found, wrong).metrics[0].value == 0
  none = score(name, found, lambda *_: ("?",)) if name == "mmau" else None
  assert none is None or none.metrics[0].value == 0


@pytest.mark.slow  # Java reads METEOR's table for each
@pytest.mark.parametrize("name", ["clotho"])
def test_captions_of_people_and_of_a_parrot(name, found):
  best = score(name, found, perfect)
  values = {m.name: m.value for m in best.metrics}
  # BLEU's own smallest number, 1e-9, is added below a fraction's line.
  assert values["BLEU-1"] == pytest.approx(1, abs=1e-8)
  assert values["ROUGE-L"] == 1
  assert values["sentence similarity"] > 0
  parrot = score(name, found, lambda *_: ("zzz",))
  low = {m.name: m.value for m in parrot.metrics}
  assert low["CIDEr-D"] == low["ROUGE-L"] == 0
  for metric in best.metrics:
    if metric.value is not None:
      assert metric.low <= metric.value <= metric.high


@pytest.mark.parametrize("name", KINDS[OPEN])
def test_open_answers_without_a_judge_are_kept(name, found):
  (metric,) = score(name, found, perfect).metrics
  assert metric.value is None and "--judge=MODEL" in metric.note


def test_a_judge_counts_what_it_says_is_answered(found, tmp_path):
  spec, there = catalog.SETS["open_gpt4"], found["open_gpt4"]
  known = Known(perfect, Distinct(), draws=10)
  known.out, known.tell = tmp_path, lambda _: None
  with http_script.serving(
    answer=lambda request: http_script.says(
      "no" if there.items[0].question in str(request.body) else "Yes."
    )
  ) as server:
    known.judge = JudgeSettings("judge", server.url)
    scored = scoring.SCORE[OPEN](known, spec, there, there.items)
  (metric,) = scored.metrics
  wrong = [item.question for item in there.items].count(there.items[0].question)
  assert metric.value == pytest.approx(1 - wrong / len(there.items), 1e-12)
  assert metric.headline
  assert scored.settings["judge"]["model"] == "judge"
  assert scored.said[0]["judge"] == "no" and scored.score[0]["judge"] == 0
  assert (tmp_path / "open_gpt4.verdicts.jsonl").exists()


CLASSES = tuple(f"class {n}" for n in range(10))


def balanced(clips=60):
  """A set whose classes are equally frequent."""
  items = [
    Item(f"{n}", f"{n}.wav", None, "What?", (CLASSES[n % 10],))
    for n in range(clips)
  ]
  spec = Spec(
    *("even", "Even", CLASSIFICATION, "accuracy", (), None),
    question="What?",
    label_question="Which?",
  )
  return spec, Found(items, clips, (), (), CLASSES)


def test_the_wrong_clips_give_chance():
  spec, there = balanced(2000)
  known = Known(
    perfect, Distinct(), CLASSES, draws=200, controls=("shuffled", "silent")
  )
  scored = scoring.SCORE[spec.kind](known, spec, there, there.items)
  values = {m.protocol: m for m in scored.metrics}
  for protocol in ("published", "constrained"):
    assert values[protocol].value == 1
    other = values[f"{protocol}, another item's audio"]
    # Binomial of 2000 at 0.1 has a deviation of 0.0067: four of them.
    assert other.value == pytest.approx(other.chance, abs=0.027)
    assert other.low < other.chance < other.high
    assert not other.headline
  # Without a clip it says nothing, and the first class is taken.
  assert values["constrained, without audio"].value == 0.1


def test_an_interval_is_that_of_the_share():
  spec, there = balanced(400)

  def half(spec, item, labels):
    right = int(item.id) % 2
    return item.truth if right else [CLASSES[(int(item.id) + 1) % 10]]

  known = Known(half, Distinct(), CLASSES, draws=1000)
  metric = scoring.SCORE[spec.kind](known, spec, there, there.items).metrics[0]
  assert metric.value == 0.5
  # 1.96 * sqrt(0.25 / 400) = 0.049; a percentile of 1000 draws is 10 % off.
  assert metric.high - 0.5 == pytest.approx(0.049, rel=0.15)
  assert 0.5 - metric.low == pytest.approx(0.049, rel=0.15)


def test_an_order():
  items = [
    Item("a", "a", None, "?", ("dog", "cat")),
    Item("b", "b", None, "?", ("cat", "dog")),
    Item("c", "c", None, "?", ("bird", "dog", "cat")),
  ]
  spec = Spec("o", "O", ORDER, "accuracy", (), None, decode="greedy")

  def first(spec, item, labels):
    return ("dog", "cat") if item.id != "c" else ("bird", "cat", "dog")

  known = Known(first, Distinct(), draws=10)
  scored = scoring.SCORE[ORDER](known, spec, Found(items, 3, (), ()), items)
  exact, given = scored.metrics
  assert exact.value == pytest.approx(1 / 3) and exact.headline
  assert given.value == pytest.approx(1 / 3)
  assert given.chance == pytest.approx((1 / 2 + 1 / 2 + 1 / 6) / 3)


def test_unreadable_clips_are_left_out():
  spec, there = balanced(20)
  known = Known(perfect, Distinct(), CLASSES, draws=10)
  whole = known.ask, known.likelihoods
  known.ask = lambda *a: [
    r if n else type(r)(error="broken") for n, r in enumerate(whole[0](*a))
  ]
  known.likelihoods = lambda *a: ["broken", *whole[1](*a)[1:]]
  scored = scoring.SCORE[spec.kind](known, spec, there, there.items)
  assert {m.count for m in scored.metrics} == {19}
  assert all(m.value == 1 for m in scored.metrics)
  assert scored.errors == ["broken", *[""] * 19]
  assert scored.said[0] == {} and scored.score[0] == {}
