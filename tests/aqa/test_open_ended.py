"""Open-ended answers follow from records made by hand."""

from ltu_jax.aqa import open_ended
from ltu_jax.aqa.records import ClipRecord, Event, SoundFacts, Span

_FACTS = {
  "Fire": SoundFacts(
    "Fire", "Dry", "a fire burns", "dry crackle", "wood burns", "nature"
  ),
  "Drum": SoundFacts(
    "Drum", "Deep", "a drum beats", "deep beat", "somebody plays", "music"
  ),
}


def _event(label, onset, offset):
  return Event(label, spans=(Span(onset, offset),))


def _all_answers(events, facts=_FACTS):
  """All answers that a record has, over many names of clips."""
  answers = set()
  for number in range(100):
    clip = ClipRecord(f"clip {number}", "mini", tuple(events))
    questions = open_ended.make(clip, facts)
    assert all(q.task == "open-ended question" for q in questions)
    assert len({q.instruction for q in questions}) == len(questions)
    answers.update(q.output for q in questions)
  return answers


def test_one_event():
  assert _all_answers([_event("Fire", 1.0, 2.0)]) == {
    "It is Fire, known by its dry crackle.",
    "Perhaps wood burns, as a fire burns.",
    "Nature, because a fire burns.",
    "No, only a fire burns.",
  }


def test_two_events_one_after_another():
  events = [_event("Fire", 1.0, 2.0), _event("Drum", 3.0, 6.0)]
  assert _all_answers(events) == {
    "Fire is first, known by its dry crackle.",
    "Drum is last, known by its deep beat.",
    "Perhaps wood burns, then somebody plays.",
    "Drum, for about 3 seconds.",
    "Two: Fire and Drum.",
    "Drum, as a drum beats next.",
    "Yes, a drum beats.",
  }


def test_nothing_is_last_while_another_goes_on():
  answers = _all_answers([_event("Fire", 1.0, 7.0), _event("Drum", 3.0, 6.0)])
  assert not any("last" in answer for answer in answers)
  assert "Fire is first, known by its dry crackle." in answers


def test_longest_is_left_out_when_nobody_could_tell():
  answers = _all_answers([_event("Fire", 1.0, 3.0), _event("Drum", 5.0, 7.4)])
  assert not any("seconds" in answer for answer in answers)


def test_unknown_sounds_get_only_what_needs_no_facts():
  answers = _all_answers([_event("A", 1.0, 2.0), _event("B", 3.0, 6.0)], {})
  assert answers == {"B, for about 3 seconds.", "Two: A and B."}
  assert _all_answers([_event("A", 1.0, 2.0)], {}) == set()
