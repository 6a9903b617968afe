"""Closed-ended answers are exact for records made by hand."""

from ltu_jax.aqa import closed_ended, paraphrases
from ltu_jax.aqa.records import ClipRecord, Event, Span

_FIRE = Event("Fire", "Crackling", (Span(0.5, 2.0),))
_BELL = Event("Bell", "Clear", (Span(1.5, 3.0), Span(4.0, 4.5)))


def _answers(clip):
  """The answers by task."""
  answers = {}
  for question in closed_ended.make(clip):
    assert question.dataset == clip.dataset
    answers.setdefault(question.task, []).append(question.output)
  return answers


def test_two_events():
  clip = ClipRecord("a", "mini", (_FIRE, _BELL), ("A fire, then a bell.",))
  answers = _answers(clip)
  single = answers.pop("temporal_single")
  assert single in (["[0.5s-2.0s]"], ["[1.5s-3.0s, 4.0s-4.5s]"])
  assert answers == {
    "cla_label": ["Labels: Fire; Bell"] * 2,
    "cla_label_des": [
      "Labels with acoustic features: Crackling -> Fire; Clear -> Bell"
    ],
    "caption": ["A fire, then a bell."],
    "temporal_order": ["First Fire, then Bell"],
    "temporal_all": ["Fire: [0.5s-2.0s]; Bell: [1.5s-3.0s, 4.0s-4.5s]"],
  }


def test_one_event_has_no_order():
  answers = _answers(ClipRecord("a", "mini", (_BELL,), ("A bell.",)))
  assert sorted(answers) == [
    "caption",
    "cla_label",
    "cla_label_des",
    "temporal_single",
  ]
  assert answers["temporal_single"] == ["[1.5s-3.0s, 4.0s-4.5s]"]


def test_labels_alone_make_only_classification():
  answers = _answers(ClipRecord("a", "vgg", (Event("Owl"), Event("Wind"))))
  assert answers == {"cla_label": ["Labels: Owl; Wind"] * 2}


def test_order_is_by_onset_whatever_the_order_of_the_record():
  answers = _answers(ClipRecord("a", "mini", (_BELL, _FIRE)))
  assert answers["temporal_order"] == ["First Fire, then Bell"]


def test_single_asks_for_the_event_that_it_answers():
  asked = set()
  for number in range(30):
    clip = ClipRecord(f"clip {number}", "mini", (_FIRE, _BELL))
    for question in closed_ended.make(clip):
      if question.task == "temporal_single":
        (event,) = [e for e in clip.events if e.label in question.instruction]
        assert question.output == event.times
        asked.add(event.label)
  assert asked == {"Fire", "Bell"}


def test_the_two_label_questions_differ_and_vary_between_clips():
  seen = set()
  for number in range(60):
    clip = ClipRecord(f"clip {number}", "mini", (_FIRE,))
    asked = [
      question.instruction
      for question in closed_ended.make(clip)
      if question.task == "cla_label"
    ]
    assert len(set(asked)) == 2
    seen.update(asked)
  # 60 clips with 2 of 6 ways each miss one way with probability 1e-10.
  assert seen == set(paraphrases.load()["cla_label"])


def test_same_clip_gets_the_same_questions():
  clip = ClipRecord("a", "mini", (_FIRE, _BELL), ("A fire, then a bell.",))
  assert closed_ended.make(clip) == closed_ended.make(clip)
