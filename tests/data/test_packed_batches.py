"""Packed rows and buckets in the pipeline: order, hosts, resuming, damage."""

import itertools
import json
import pickle

import pytest

import made_up_clips
from ltu_jax import bad_batches
from ltu_jax.data import buckets, layout, packing, text_lengths
from ltu_jax.data.openaqa import Batches, RowError, make_row
from ltu_jax.data.question_source import QuestionSource
from test_openaqa import BAD_SOURCE, SOURCE, SPM, assert_equal

DATA = {
  "questions_per_row": 3,
  "row_tokens": 150,
  "length_buckets": (),
  "batch_size": 4,
}
PACKED = DATA
ROWS_OF_BUCKETS = DATA | {"length_buckets": (80,)}
BUCKETS = DATA | {
  "questions_per_row": 1,
  "row_tokens": 0,
  "length_buckets": (42, 48),
}
KINDS = pytest.mark.parametrize(
  "data", [PACKED, ROWS_OF_BUCKETS, BUCKETS], ids=["one", "both", "buckets"]
)
LENGTHS = text_lengths.TextLengths(
  SOURCE.index, text_lengths.measure(SOURCE, SPM)
)
MAX_TOKENS = 56


def stream(data, source=SOURCE, **changes):
  made = layout.make(source.index, LENGTHS, data, MAX_TOKENS, 3)
  settings = {
    "batch_size": data["batch_size"],
    "seed": 3,
    "plan": made.plan,
    "buckets": made.buckets,
    "max_tokens": MAX_TOKENS,
    "row_tokens": made.row_tokens,
    "drop_audio": 0.5,
  }
  return Batches(source, SPM, **(settings | changes))


def questions_of(batches, row):
  return [row] if batches.plan is None else batches.plan[row].tolist()


def take(dataset, count):
  return list(itertools.islice(iter(dataset), count))


def shares(batches, hosts, steps):
  """Places of each host, by the number of rows."""
  every = {batches.shape(step).rows for step in range(steps)}
  return [{n: range(n)[host::hosts] for n in every} for host in range(hosts)]


@KINDS
def test_each_epoch_has_each_question_once(data):
  batches = stream(data)
  rows = (row for step in itertools.count() for row in batches.rows(step))
  # Rows of an epoch, and what its last batch lacks.
  epoch = len(batches.plan.clips) if batches.plan is not None else 21
  for _ in range(3):
    found = list(itertools.islice((r for r in rows if r >= 0), epoch))
    every = [q for row in found for q in questions_of(batches, row)]
    assert sorted(every) == list(range(21))


@KINDS
def test_a_batch_is_its_rows(data):
  batches = stream(data, drop_audio=0.0)
  for step, batch in enumerate(take(batches.dataset(), 8)):
    shape = batches.shape(step)
    assert batch["tokens"].shape == (shape.rows, shape.tokens)
    absent = 0
    for i, row in enumerate(batches.rows(step)):
      got = {key: value[i] for key, value in batch.items()}
      if row < 0:
        assert not got["segment_ids"].any() and not got["loss_weights"].any()
        absent += 1
        continue
      some = [SOURCE[q] for q in questions_of(batches, row)]
      assert len({question.clip for question in some}) == 1
      how = {"max_tokens": MAX_TOKENS, "row_tokens": shape.tokens}
      assert_equal(got, make_row(some, SPM, **how))
      assert got["segment_ids"].max() == len(some)
    assert batches.num_padding(step) == absent
    assert batches.skipped(step, batch) == []


@KINDS
@pytest.mark.parametrize("source", [SOURCE, BAD_SOURCE], ids=["good", "bad"])
def test_hosts_threads_and_restarts_change_nothing(data, source):
  whole = take(stream(data, source).dataset(), 12)
  batches = stream(data, source, num_threads=1)
  for places in shares(batches, 2, 12):
    for step, got in enumerate(take(batches.dataset(places), 12)):
      own = list(places[batches.shape(step).rows])
      assert_equal(got, {k: v[own] for k, v in whole[step].items()})
  first = iter(stream(data, source).dataset())
  for _ in range(5):
    next(first)
  state = pickle.loads(pickle.dumps(first.get_state()))
  second = iter(stream(data, source, num_threads=0).dataset())
  next(second)
  second.set_state(state)
  for step in range(5, 12):
    assert_equal(next(second), whole[step])


@KINDS
def test_a_clip_that_cannot_be_read_is_a_row_of_padding(data):
  batches, good = stream(data, BAD_SOURCE), stream(data)
  other = take(good.dataset(), 12)
  told = set()
  for step, batch in enumerate(take(batches.dataset(), 12)):
    found = batches.skipped(step, batch)
    # Clip 3 is no sound, which is noticed where its audio is not dropped;
    # clip 5 has no record.
    ids = batch["segment_ids"]
    missing = [
      row
      for row, own, want in zip(
        batches.rows(step), ids, other[step]["segment_ids"], strict=True
      )
      if want.any() and not own.any()
    ]
    assert [x.row for x in found] == missing
    told |= {x.clip for x in found}
  assert told == {3, 5}


def test_what_a_row_is_in_words():
  batches = stream(PACKED)
  row = next(r for r in range(9) if len(batches.plan[r]) == 3)
  found = batches.describe(row)
  clip = int(batches.plan.clips[row])
  assert (found["row"], found["clip"]) == (row, clip)
  assert found["clip_id"] == f"clip-{clip}"
  want = [SOURCE[q].instruction for q in batches.plan[row]]
  assert [q["instruction"] for q in found["questions"]] == want
  assert json.loads(json.dumps(found)) == found  # for a file of a bad batch
  assert bad_batches.describe(stream(BUCKETS), [-1, 0])[0] == {"row": -1}


def test_an_epoch_is_shuffled_once(monkeypatch):
  """Its order is asked for at each step that has a clip it cannot read."""
  made, shuffle = [], packing.Order.epoch
  monkeypatch.setattr(
    packing.Order, "epoch", lambda s, e: made.append(e) or shuffle(s, e)
  )
  # Epochs have nine rows here: threads that read ahead are in later ones.
  batches = stream(PACKED, BAD_SOURCE, num_threads=0)
  for step, batch in enumerate(take(batches.dataset(), 4)):
    batches.skipped(step, batch)
    batches.rows(step)
  assert len(made) == len(set(made))


def test_texts_that_do_not_fit_are_an_error():
  records, index = made_up_clips.make()
  for record in records:
    questions = record["questions"]
    questions["output"] = [text * 3 for text in questions["output"]]
  longer = QuestionSource(records, index)
  batches = stream(PACKED, longer, max_tokens=108)
  with pytest.raises(RowError, match=r"clip 'clip-\d'.*text_lengths.npz"):
    take(batches.dataset(), 9)


def test_a_text_only_stage_packs_too():
  batch = take(stream(PACKED, text_only=True).dataset(), 1)[0]
  assert not batch["num_samples"].any() and batch["segment_ids"].max() > 1


def test_the_layout_in_words_and_numbers():
  made = lambda data: layout.make(SOURCE.index, LENGTHS, data, MAX_TOKENS, 3)
  plain = made(BUCKETS | {"length_buckets": ()})
  assert plain.size == (21, 4) and plain.line(5) == ""
  packed = made(PACKED)
  # Clips of 1 to 6 questions, three of which always fit.
  assert packed.size == (1 + 1 + 1 + 2 + 2 + 2, 4)
  assert packed.questions_per_step == pytest.approx(4 * 21 / 9)
  assert packed.line(9) == (
    "21 questions in 9 rows, 2.33 a row; a step has 9.3 on the average;"
    " 9 steps are 4.00 epochs"
  )
  both = made(ROWS_OF_BUCKETS)
  assert both.size == (both.buckets.num_steps, 1)
  assert (
    buckets.shapes_of(DATA | {"length_buckets": (48, 500)}, 108)[-1]
    == (buckets.shapes_of(DATA, 108)[-1])
  )
