"""The grain pipeline: rows, order, hosts, threads, resuming."""

import collections
import dataclasses
import io
import itertools
import pathlib
import pickle
import re

import numpy as np
import pytest
import soundfile

import made_up_clips
from ltu_jax.audio.decode import CLIP_SAMPLES, AudioError
from ltu_jax.data import tokenizer
from ltu_jax.data.openaqa import Batches, load_pcm, make_row, padding_row
from ltu_jax.data.question_source import QuestionSource

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SPM = tokenizer.SentencePieceTokenizer(GOLDEN / "tiny_spm.model")

# 7 clips with 0 to 6 questions: 21 rows, which 4 does not divide.
SOURCE = QuestionSource(*made_up_clips.make())
NUM_ROWS = 21


# The same, but for clip 3 (rows 3, 4, 5), which is no sound, and clip 5 (rows
# 10 to 14), whose record cannot be read.
BAD_ROWS = (3, 4, 5, 10, 11, 12, 13, 14)


class Records(list):
  """Raises for record 5 what ArrayRecord raises for a wrong checksum."""

  def __getitem__(self, number):
    if number == 5:
      raise RuntimeError("chunk data hash mismatch")
    return super().__getitem__(number)


def bad_source():
  records, index = made_up_clips.make()
  records[3]["audio"] = b"this is no sound"
  return QuestionSource(Records(records), index)


BAD_SOURCE = bad_source()
SOURCES = pytest.mark.parametrize(
  "source", [SOURCE, BAD_SOURCE], ids=["good", "bad"]
)


def batches(source=SOURCE, **kwargs):
  return Batches(source, SPM, **{"batch_size": 4, "seed": 3} | kwargs)


def take(stream, n):
  return list(itertools.islice(iter(stream), n))


def assert_equal(a, b):
  assert a.keys() == b.keys()
  for key in a:
    np.testing.assert_array_equal(a[key], b[key])


def with_audio(audio):
  records, index = made_up_clips.make()
  for record in records:
    record["audio"] = audio
  return QuestionSource(records, index)


def test_a_row_holds_the_clip_and_the_example():
  row = make_row([SOURCE[5]], SPM)
  samples = made_up_clips.samples_of(3)  # Rows 3, 4, 5 are clip 3's.
  assert row["num_samples"] == len(samples)
  np.testing.assert_array_equal(row["pcm"][: len(samples)], samples)
  assert not row["pcm"][len(samples) :].any()

  tokens, weights = tokenizer.tokenize_example(
    SPM, "Question 3.2: what?", "", "Answer 3.2, café."
  )
  n = len(tokens)
  assert 20 < n < 108
  np.testing.assert_array_equal(row["tokens"][:n], tokens)
  np.testing.assert_array_equal(row["loss_weights"][:n], weights)
  np.testing.assert_array_equal(row["positions"][:n], 32 + np.arange(n))
  np.testing.assert_array_equal(row["segment_ids"][:n], 1)
  for key in ("tokens", "loss_weights", "positions", "segment_ids"):
    assert not row[key][n:].any()


def test_more_text_of_a_question_is_in_its_prompt():
  question = dataclasses.replace(SOURCE[5], input="The rain, café.")
  row = make_row([question], SPM)
  tokens, weights = tokenizer.tokenize_example(
    SPM, "Question 3.2: what?", "The rain, café.", "Answer 3.2, café."
  )
  n = len(tokens)
  np.testing.assert_array_equal(row["tokens"][:n], tokens)
  np.testing.assert_array_equal(row["loss_weights"][:n], weights)
  assert "### Input:\nThe rain, café.\n" in SPM.decode(tokens)


def test_answer_only_weighs_the_answer():
  both, answer = (
    make_row([SOURCE[5]], SPM, train_on_inputs=flag) for flag in (True, False)
  )
  np.testing.assert_array_equal(both["tokens"], answer["tokens"])
  n = int(answer["loss_weights"].sum())
  assert 0 < n < both["loss_weights"].sum()
  ids = answer["tokens"][answer["loss_weights"] > 0]
  assert ids[-1] == SPM.eos_id
  assert SPM.decode(ids) == "Answer 3.2, café."


def test_a_long_clip_is_cut_and_a_long_text_too():
  long = np.arange(200000, dtype=np.int16)
  question = with_audio(made_up_clips.flac(long))[0]
  row = make_row([question], SPM, max_tokens=12)
  assert row["num_samples"] == CLIP_SAMPLES
  np.testing.assert_array_equal(row["pcm"], long[:CLIP_SAMPLES])
  assert row["tokens"].shape == (12,)
  assert SPM.eos_id not in row["tokens"]
  assert row["segment_ids"].all()


def test_a_batch_has_the_keys_shapes_and_types_of_the_architecture():
  (batch,) = take(batches().dataset(), 1)
  got = {key: (value.dtype.name, value.shape) for key, value in batch.items()}
  assert got == {
    "pcm": ("int16", (4, 164080)),
    "num_samples": ("int32", (4,)),
    "tokens": ("int32", (4, 108)),
    "positions": ("int32", (4, 108)),
    "segment_ids": ("int32", (4, 108)),
    "loss_weights": ("float32", (4, 108)),
  }


def test_each_epoch_has_each_question_once_in_another_order():
  stream = [r for step in range(16) for r in batches().rows(step)]
  epochs = [stream[i : i + NUM_ROWS] for i in (0, NUM_ROWS, 2 * NUM_ROWS)]
  for epoch in epochs:
    assert sorted(epoch) == list(range(NUM_ROWS))
  assert epochs[0] != epochs[1] != epochs[2]
  assert epochs[0] != list(range(NUM_ROWS))


def test_another_seed_is_another_order():
  assert batches(seed=3).rows(0) == batches(seed=3).rows(0)
  orders = {tuple(batches(seed=seed).rows(0)) for seed in range(9)}
  assert len(orders) == 9


def test_rows_tells_what_is_in_a_batch():
  for step, batch in enumerate(take(batches().dataset(), 7)):
    for i, row in enumerate(batches().rows(step)):
      assert_equal(
        {key: value[i] for key, value in batch.items()},
        make_row([SOURCE[row]], SPM),
      )


@SOURCES
def test_any_number_of_hosts_gives_the_same_rows_in_the_same_order(source):
  settings = {"source": source, "drop_audio": 0.5}
  alone = take(batches(**settings).dataset(), 12)
  # Halves, single rows, what micro-batches need, and the same rows twice.
  for share in (([0, 1], [2, 3]), ([0], [1], [2], [3]), ([0, 2], [1, 3], [3])):
    for places in share:
      got = take(batches(**settings).dataset(places), 12)
      for step, want in enumerate(alone):
        assert_equal(got[step], {k: v[places] for k, v in want.items()})


@SOURCES
@pytest.mark.parametrize("num_threads", [0, 1, 5])
def test_threads_do_not_change_the_batches(num_threads, source):
  want = take(batches(source, drop_audio=0.5).dataset(), 9)
  settings = {"drop_audio": 0.5, "num_threads": num_threads}
  got = take(batches(source, **settings).dataset(), 9)
  for a, b in zip(got, want, strict=True):
    assert_equal(a, b)


@SOURCES
@pytest.mark.parametrize("stop_after", [0, 3, 6])
def test_a_resumed_run_sees_the_batches_it_would_have_seen(stop_after, source):
  # 6 batches of 4 are past the end of the first epoch of 21.
  want = take(batches(source, drop_audio=0.5).dataset(), 12)
  first = iter(batches(source, drop_audio=0.5).dataset())
  for _ in range(stop_after):
    next(first)
  state = pickle.loads(pickle.dumps(first.get_state()))
  # A new process: a new iterator, with another number of threads.
  resumed = batches(source, drop_audio=0.5, num_threads=1)
  second = iter(resumed.dataset())
  next(second)
  second.set_state(state)
  for step in range(stop_after, 12):
    batch = next(second)
    assert_equal(batch, want[step])
    # Which rows were skipped is known to a run that goes on, too.
    padding = [
      row
      for row, ids in zip(resumed.rows(step), batch["segment_ids"], strict=True)
      if not ids.any()
    ]
    assert [x.row for x in resumed.skipped(step, batch)] == padding


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_rows_that_cannot_be_read_are_padding_in_their_place(hosts):
  shares = [range(4)[host::hosts] for host in range(hosts)]
  good = [take(batches().dataset(share), 12) for share in shares]
  padding = padding_row(SPM)
  seen = set()
  for host, share in enumerate(shares):
    stream = batches(BAD_SOURCE)
    for step, batch in enumerate(take(stream.dataset(share), 12)):
      skipped = stream.skipped(step, batch, share)
      rows = [stream.rows(step)[place] for place in share]
      assert [x.row for x in skipped] == [r for r in rows if r in BAD_ROWS]
      for i, row in enumerate(rows):
        want = {key: value[i] for key, value in good[host][step].items()}
        assert_equal(
          {key: value[i] for key, value in batch.items()},
          padding if row in BAD_ROWS else want,
        )
      seen |= {(x.clip, x.clip_id, x.reason) for x in skipped}
  not_audio = next(reason for clip, _, reason in seen if clip == 3)
  assert not_audio.startswith("cannot be decoded, it is damaged or not audio")
  reason = "cannot be read (RuntimeError: chunk data hash mismatch)"
  assert seen == {(3, "clip-3", not_audio), (5, "", reason)}


def test_padding_has_the_form_of_a_row():
  padding, row = padding_row(SPM, max_tokens=60), make_row([SOURCE[5]], SPM)
  assert padding.keys() == row.keys()
  for key, value in padding.items():
    assert value.dtype == row[key].dtype
    assert value.shape == (
      (60,) if row[key].shape == (108,) else row[key].shape
    )
    assert (value == (SPM.pad_id if key == "tokens" else 0)).all()


def test_what_is_not_decoded_is_not_skipped():
  # The record of clip 5 cannot be read even for its text.
  for settings in ({"text_only": True}, {"drop_audio": 1.0}):
    stream = batches(BAD_SOURCE, batch_size=NUM_ROWS, **settings)
    (batch,) = take(stream.dataset(), 1)
    skipped = stream.skipped(0, batch)
    assert sorted(x.row for x in skipped) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("num_threads", [0, 2])
def test_mistakes_of_the_program_stop_the_stream(num_threads):
  records, index = made_up_clips.make()
  for record in records:
    record["questions"]["instruction"] = []
  stream = batches(QuestionSource(records, index), num_threads=num_threads)
  with pytest.raises(IndexError, match="belongs to other records"):
    take(stream.dataset(), 1)


def test_text_only_decodes_nothing_and_keeps_the_text():
  source = with_audio(b"this is no sound")
  stream = Batches(source, SPM, batch_size=4, seed=3, text_only=True)
  for got, want in zip(
    take(stream.dataset(), 5), take(batches().dataset(), 5), strict=True
  ):
    assert not got["num_samples"].any()
    assert not got["pcm"].any()
    assert got["pcm"].shape == want["pcm"].shape
    for key in ("tokens", "positions", "segment_ids", "loss_weights"):
      np.testing.assert_array_equal(got[key], want[key])


def test_drop_audio_takes_the_audio_of_a_share_of_rows():
  stream = batches(batch_size=16, drop_audio=0.25)
  got = np.concatenate(
    [b["num_samples"] == 0 for b in take(stream.dataset(), 25)]
  )
  # 400 draws at 0.25: standard deviation 0.022, so four of them.
  assert abs(got.mean() - 0.25) < 0.09
  # The same question keeps its audio in one epoch and loses it in another.
  rows = np.concatenate([stream.rows(step) for step in range(25)])
  fates = collections.defaultdict(set)
  for row, dropped in zip(rows.tolist(), got.tolist(), strict=True):
    fates[row].add(dropped)
  assert all(fate == {True, False} for fate in fates.values())
  for probability, share in ((0.0, 0), (1.0, 1)):
    (batch,) = take(batches(drop_audio=probability).dataset(), 1)
    assert ((batch["num_samples"] == 0) == share).all()


def test_text_begins_after_the_models_audio():
  (batch,) = take(batches(audio_tokens=7).dataset(), 1)
  assert (batch["positions"][:, 0] == 7).all()


@pytest.mark.parametrize(
  ("audio", "reason"),
  [
    (b"", "the file is empty"),
    (b"not a sound at all", "not audio"),
    (made_up_clips.flac(np.zeros(399, np.int16)), "399 samples, fewer than"),
    (made_up_clips.flac(np.zeros(9000, np.int16))[:60], "damaged"),
  ],
)
def test_a_bad_clip_is_one_error_with_its_id(audio, reason):
  source = with_audio(audio)
  with pytest.raises(AudioError, match=rf"^clip 'clip-1': .*{reason}"):
    load_pcm(source[0])
  stream = batches(source)
  (batch,) = take(stream.dataset(), 1)
  assert not batch["segment_ids"].any()
  skipped = stream.skipped(0, batch)
  assert [x.row for x in skipped] == stream.rows(0)
  for x in skipped:
    assert x.clip_id == f"clip-{x.clip}"
    assert re.search(reason, x.reason) and x.clip_id not in x.reason


def test_a_clip_of_another_rate_is_resampled():
  buffer = io.BytesIO()
  soundfile.write(buffer, np.zeros(44100), 44100, format="WAV")
  _, num_samples = load_pcm(with_audio(buffer.getvalue())[0])
  assert num_samples == 16000


@pytest.mark.parametrize(
  ("settings", "reason"),
  [
    ({"batch_size": 0}, "batch_size must be positive"),
    ({"drop_audio": 1.5}, r"drop_audio must be in 0\.\.1"),
  ],
)
def test_settings_that_make_no_sense_are_named(settings, reason):
  with pytest.raises(ValueError, match=reason):
    batches(**settings)


@pytest.mark.parametrize("places", [[], [4], [-1, 2]])
def test_rows_that_are_not_of_the_batch_are_an_error(places):
  with pytest.raises(ValueError, match="a host cannot take the rows"):
    batches().dataset(places)
