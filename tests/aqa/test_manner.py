"""How closed-ended questions of any record are asked, and how often anew."""

import collections
import itertools

import pytest

from ltu_jax.aqa import closed_ended, paraphrases
from ltu_jax.aqa.closed_ended import PREFIX, Manner
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.records import ClipRecord, Event, Span

_MANY = paraphrases.load(paraphrases.MANY)


def _event(label, *onsets):
  return Event(label, spans=tuple(Span(onset, onset + 1) for onset in onsets))


_STRONG = ClipRecord(
  "strong", "as", tuple(_event(c, i) for i, c in enumerate("ABCDE"))
)
_CAPTIONS = ClipRecord("five", "clotho", captions=tuple("abcde"))


@pytest.mark.parametrize(
  ("clip", "tasks"),
  [
    (ClipRecord("a", "x"), []),
    (ClipRecord("a", "x", captions=("A.",)), ["caption"]),
    (ClipRecord("a", "x", (Event("A"),)), ["cla_label"] * 2),
    (
      ClipRecord("a", "x", (Event("A", "Low"),)),
      ["cla_label", "cla_label", "cla_label_des"],
    ),
    # Questions about features or times would leave one of the two out.
    (
      ClipRecord("a", "x", (Event("A", "Low"), _event("B", 1))),
      ["cla_label"] * 2,
    ),
    (_CAPTIONS, ["caption"] * 5),
  ],
)
def test_only_what_is_known_is_asked(clip, tasks):
  assert [question.task for question in closed_ended.make(clip)] == tasks


def test_each_caption_answers_a_question_of_its_own_wording():
  questions = closed_ended.make(_CAPTIONS, Manner(_MANY, style="Clotho"))
  assert [question.output for question in questions] == list("abcde")
  asked = [question.instruction for question in questions]
  assert len(set(asked)) == 5
  assert all("in clotho style" in words.lower() for words in asked)


@pytest.mark.parametrize(
  ("onsets", "order"),
  [
    ((0.0, 0.04, 0.06), ["First A and B, then C"]),
    ((0.0, 0.0, 0.0), []),
    ((1.0, 2.0, 2.0), ["First A, then B and C"]),
    ((1.0, 1.0, 1.0, 3.0), ["First A, B and C, then D"]),
  ],
)
def test_sounds_that_begin_together_have_no_order(onsets, order):
  events = tuple(map(_event, "ABCD", onsets))
  questions = closed_ended.make(ClipRecord("a", "x", events))
  made = [q.output for q in questions if q.task == "temporal_order"]
  assert made == order


def test_copies_are_worded_otherwise_until_all_ways_are_used():
  asked = collections.defaultdict(list)
  for copy in range(4):
    for question in closed_ended.make(_STRONG, Manner(_MANY), copy):
      asked[question.task].append(question)
  for task, questions in asked.items():
    assert len({q.instruction for q in questions}) == len(questions), task
    if task != "temporal_single":
      assert len({q.output for q in questions}) == 1
  # Another event each time.
  assert len({q.output for q in asked["temporal_single"]}) == 4


def test_ways_come_again_evenly_when_they_are_used_up():
  ways = {"caption": tuple("abc")}
  chosen = [
    paraphrases.choose("clip", "caption", 2, copy=copy, ways=ways)
    for copy in range(3)
  ]
  assert all(len(set(two)) == 2 for two in chosen)
  assert sorted(itertools.chain(*chosen)) == list("aabbcc")
  (many,) = [paraphrases.choose("clip", "caption", 7, ways=ways)]
  assert sorted(collections.Counter(many).values()) == [2, 2, 3]


def test_prefix_comes_as_often_as_asked_and_changes_nothing_else():
  clips = [
    ClipRecord(f"clip {i}", "x", (Event("A"),), ("A.",)) for i in range(400)
  ]
  plain, half = (
    [q for clip in clips for q in closed_ended.make(clip, Manner(prefix=p))]
    for p in (0, 0.5)
  )
  with_it = [q.instruction.startswith(PREFIX) for q in half]
  assert [q.instruction.removeprefix(PREFIX) for q in half] == [
    q.instruction for q in plain
  ]
  # 1200 questions: 600 with a deviation of 17.3; five of them.
  assert abs(sum(with_it) - 600) < 87
  # Of the three questions of a clip each by itself.
  assert len(set(zip(*[iter(with_it)] * 3, strict=True))) == 8
  whole = closed_ended.make(clips[0], Manner(prefix=1))
  assert all(q.instruction.startswith(PREFIX) for q in whole)


def test_seed_and_tasks():
  clips = [
    ClipRecord(f"clip {i}", "x", (Event("A"),), ("A.",)) for i in range(9)
  ]
  made = {
    seed: [closed_ended.make(clip, Manner(_MANY, seed)) for clip in clips]
    for seed in (0, 1, 2)
  }
  assert made[0] != made[1] != made[2] != made[0]
  (question,) = closed_ended.make(clips[0], Manner(tasks=["caption"]))
  assert question.task == "caption"


def test_many_ways_hold_those_of_mini():
  for name in closed_ended.TASKS:
    assert set(paraphrases.load()[name]) <= set(_MANY[name])
    assert len(_MANY[name]) >= 10


def test_a_file_of_one_s_own(tmp_path):
  path = tmp_path / "ways.txt"
  path.write_text("[caption]\nSay what it is.\n")
  ways = paraphrases.read(path)
  assert ways["caption"] == ("Say what it is.",)
  assert ways["cla_label"] == _MANY["cla_label"]


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("[capton]\nSay it.", r"no section \[capton\], only cla_label,"),
    ("[temporal_single]\nWhen?", r"'When\?' has to hold \{sound\}"),
    ("[caption]\nSay {it}.", r"has to hold no \{name\}"),
    ("[caption]\nSay {it.", "expected '}'"),
    ("Say it.", "stands before any"),
    (None, "cannot be read"),
  ],
)
def test_a_wrong_file_is_one_error(text, words, tmp_path):
  path = tmp_path / "ways.txt"
  if text is not None:
    path.write_text(text)
  with pytest.raises(AqaError, match=rf"ways\.txt: .*{words}"):
    paraphrases.read(path)
