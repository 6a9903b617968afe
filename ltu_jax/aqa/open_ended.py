"""Open-ended questions with reasons, whose answers follow from the record.

Each kind of question below has a condition under which its answer is certain
(a longest sound, say, only if no other lasts nearly as long), and takes its
reason from what is known of the sounds. Those that need facts are left out
for labels without any.
"""

from collections.abc import Callable, Mapping

from ltu_jax.aqa import paraphrases
from ltu_jax.aqa.records import ClipRecord, Event, Question, SoundFacts, phrase

TASK = "open-ended question"
"""The task's name in OpenAQA's files."""

# Nobody hears which of two sounds is longer by less than this, in seconds.
_CLEARLY_LONGER = 0.5

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")

# How the four origins of `SoundFacts.origin` are said.
_MAKER = {
  "machine": "A machine",
  "music": "Music",
  "nature": "Nature",
  "person": "A person",
}

Facts = Mapping[str, SoundFacts]


def make(clip: ClipRecord, facts: Facts, count: int = 2) -> list[Question]:
  """Makes open-ended questions of different kinds.

  Args:
    clip: The record; its events have times and are in order of onset.
    facts: What is known of the labels.
    count: How many questions at most.

  Returns:
    Questions of `count` kinds chosen by the clip's name, or of as many as
    the record can answer.
  """
  answers = {}
  for kind, answer in _KINDS.items():
    found = answer(clip, facts)
    if found is not None:
      answers[kind] = found
  choice = paraphrases.chooser(clip.id, "open-ended kinds")
  kinds = choice.sample(list(answers), min(count, len(answers)))
  questions = []
  for kind in kinds:
    output, names = answers[kind]
    (instruction,) = paraphrases.choose(clip.id, kind)
    questions.append(
      Question(instruction.format(**names), output, TASK, clip.dataset)
    )
  return questions


def _capital(sentence: str) -> str:
  """Returns the sentence with its first letter in capital."""
  return sentence[0].upper() + sentence[1:]


def _known(clip: ClipRecord, facts: Facts) -> bool:
  """Whether there are facts for every label of the clip."""
  return all(event.label in facts for event in clip.events)


def _pick_out(event: Event, place: str, facts: Facts) -> tuple[str, dict]:
  """Says which event has a place in the order, and by what it is known."""
  cue = facts[event.label].cue
  return f"{event.label} is {place}, known by its {cue}.", {}


def _first(clip: ClipRecord, facts: Facts):
  """The first of several sounds."""
  if len(clip.events) < 2 or not _known(clip, facts):
    return None
  return _pick_out(clip.events[0], "first", facts)


def _last(clip: ClipRecord, facts: Facts):
  """The last of several sounds: begins last and ends last."""
  if len(clip.events) < 2 or not _known(clip, facts):
    return None
  last = clip.events[-1]
  if any(event.offset >= last.offset for event in clip.events[:-1]):
    return None
  return _pick_out(last, "last", facts)


def _tell(clip: ClipRecord, facts: Facts):
  """The only sound, and its cue."""
  if len(clip.events) != 1 or not _known(clip, facts):
    return None
  label = clip.events[0].label
  return f"It is {label}, known by its {facts[label].cue}.", {}


def _why(clip: ClipRecord, facts: Facts):
  """The cause of the only sound."""
  if len(clip.events) != 1 or not _known(clip, facts):
    return None
  known = facts[clip.events[0].label]
  return f"Perhaps {known.cause}, as {known.phrase}.", {}


def _happening(clip: ClipRecord, facts: Facts):
  """The causes of up to three sounds in their order."""
  if not 2 <= len(clip.events) <= 3 or not _known(clip, facts):
    return None
  causes = [facts[event.label].cause for event in clip.events]
  return f"Perhaps {', then '.join(causes)}.", {}


def _origin(clip: ClipRecord, facts: Facts):
  """What makes the only sound."""
  if len(clip.events) != 1 or not _known(clip, facts):
    return None
  known = facts[clip.events[0].label]
  return f"{_MAKER[known.origin]}, because {known.phrase}.", {}


def _longest(clip: ClipRecord, facts: Facts):
  """The sound that clearly lasts longest."""
  del facts
  if len(clip.events) < 2:
    return None
  longest, second = sorted(clip.events, key=lambda e: -e.seconds)[:2]
  if longest.seconds - second.seconds < _CLEARLY_LONGER:
    return None
  return f"{longest.label}, for about {longest.seconds:.0f} seconds.", {}


def _count(clip: ClipRecord, facts: Facts):
  """How many sounds there are."""
  del facts
  labels = [event.label for event in clip.events]
  if not 2 <= len(labels) < len(_NUMBERS):
    return None
  listed = ", ".join(labels[:-1]) + " and " + labels[-1]
  return f"{_capital(_NUMBERS[len(labels)])}: {listed}.", {}


def _after(clip: ClipRecord, facts: Facts):
  """The sound that begins next after another."""
  if len(clip.events) < 2 or not _known(clip, facts):
    return None
  choice = paraphrases.chooser(clip.id, "after which")
  index = choice.randrange(len(clip.events) - 1)
  before, event = clip.events[index : index + 2]
  answer = f"{event.label}, as {facts[event.label].phrase} next."
  return answer, {"sound": before.label}


def _music(clip: ClipRecord, facts: Facts):
  """Whether an instrument is played."""
  if not _known(clip, facts):
    return None
  for event in clip.events:
    if facts[event.label].origin == "music":
      return f"Yes, {facts[event.label].phrase}.", {}
  return f"No, only {', and '.join(phrase(e, facts) for e in clip.events)}.", {}


_KINDS: dict[str, Callable[[ClipRecord, Facts], tuple[str, dict] | None]] = {
  "first": _first,
  "last": _last,
  "tell": _tell,
  "why": _why,
  "happening": _happening,
  "origin": _origin,
  "longest": _longest,
  "count": _count,
  "after": _after,
  "music": _music,
}
"""The answer to each kind of question, by its section of paraphrases."""
