"""A page to look through clips with their questions, and to listen."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence

from ltu_jax.aqa import meta_line, record_lines
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality.flag import Flag
from ltu_jax.aqa.quality.gates import DEFAULTS, Gates, GateSettings, check_names
from ltu_jax.aqa.quality.reading import Files
from ltu_jax.aqa.quality.sampling import Sampled, Sampler
from ltu_jax.audio.decode import AudioError
from ltu_jax.audio.heard import hear
from ltu_jax.evaluate.sets.audio_files import stem
from ltu_jax.page import html, media
from ltu_jax.page.media import Clip, Media
from tfds_builders.openaqa.full.audio_files import AudioFiles, RootError
from tfds_builders.openaqa.full.entries import Entry

PAGE_BYTES = 20_000_000
"""The page's size; sounds are left out to keep it, and clips where texts alone
take half of it."""

_LONGEST = 2000
"""Characters of a text that are shown."""

_TEMPLATES = pathlib.Path(__file__).parent / "templates" / "browse"


@dataclasses.dataclass(frozen=True)
class Choice:
  """Which questions to show.

  Attributes:
    clips: How many clips, chosen at random.
    seed: Of the choice.
    tasks: Tasks to show; empty for all.
    datasets: Sources to show; empty for all.
    flags: Gates; only questions that one of them flags are shown. Empty for all
      questions.
  """

  clips: int = 50
  seed: int = 0
  tasks: Collection[str] = ()
  datasets: Collection[str] = ()
  flags: Collection[str] = ()

  def takes(self, entry: Entry, flags: Sequence[Flag]) -> bool:
    """Whether a question is to be shown."""
    return (
      (not self.tasks or entry.task in self.tasks)
      and (not self.datasets or entry.dataset in self.datasets)
      and (not self.flags or any(flag.gate in self.flags for flag in flags))
    )


_ALL = Choice()


@dataclasses.dataclass(frozen=True)
class Shown:
  """A question for the page.

  Attributes:
    task: Its task.
    dataset: Its source.
    question: What is asked.
    answer: What is answered.
    flags: What the gates say.
  """

  task: str
  dataset: str
  question: str
  answer: str
  flags: Sequence[Flag]


@dataclasses.dataclass(frozen=True)
class ShownClip:
  """A clip for the page.

  Attributes:
    name: Its file's name.
    audio_id: Its name in the questions' file.
    datasets: Its sources.
    meta: Its meta information; empty if none is known.
    questions: Its questions.
    left_out: How many more there are.
    sound: The sound; None if there is none.
    reason: Why there is none.
  """

  name: str
  audio_id: str
  datasets: Sequence[str]
  meta: str
  questions: Sequence[Shown]
  left_out: int
  sound: Clip | None
  reason: str


def browse(
  path: str | os.PathLike,
  out: str | os.PathLike,
  audio: Sequence[str | os.PathLike] = (),
  records: str | os.PathLike | None = None,
  choice: Choice = _ALL,
  settings: GateSettings = DEFAULTS,
) -> pathlib.Path:
  """Makes the page.

  Args:
    path: A JSON file of the published form.
    out: The page to write.
    audio: Folders of the sounds, which are found by name; none is a page
      without sounds.
    records: Meta information to show: record_lines.py's, or a published file
      (a JSON list); None for none.
    choice: Which questions to show.
    settings: How the gates are set.

  Returns:
    The page.

  Raises:
    AqaError: Something cannot be read or written, or there is nothing to show.
    EvaluateError: The records are damaged; names the line.
  """
  check_names(choice.flags)
  sounds = _find_audio(audio)
  sampler, total = _sample(path, choice, settings)
  clips = sampler.clips()
  if not clips:
    raise AqaError(f"{path}: there is no question to show.")
  values = {
    "title": f"Questions of {pathlib.Path(path).name}",
    "total": total,
    "matching": sampler.num_questions,
    "choice": choice,
    "longest": _LONGEST,
  }
  lines = _meta_lines(records, clips) if records else {}
  try:
    page = _fit(clips, lines, sounds, values)
    return html.write(pathlib.Path(out), page)
  except html.PageError as error:
    raise AqaError(str(error)) from error
  except OSError as error:
    raise AqaError(f"{out}: cannot be written: {error}.") from error


def _find_audio(folders: Sequence[str | os.PathLike]) -> AudioFiles | None:
  """The sound files by name."""
  try:
    return AudioFiles(list(folders)) if folders else None
  except RootError as error:
    raise AqaError(f"{error}.") from error


def _sample(
  path: str | os.PathLike, choice: Choice, settings: GateSettings
) -> tuple[Sampler, int]:
  """Reads the file; returns the sampler, and how many questions there are."""
  files = Files([path])
  gates = Gates(settings, num_bytes=files.num_bytes)
  sampler, total = Sampler(choice.clips, choice.seed), 0
  for entry in files:
    total += 1
    flags = gates.flags(entry)
    if choice.takes(entry, flags):
      sampler.add(entry, flags)
  return sampler, total


def _meta_lines(
  records: str | os.PathLike, clips: Sequence[Sampled]
) -> dict[str, str]:
  """The meta information by `audio_id`, of clips that a file knows."""
  by_name: dict[str, list[str]] = {}
  for clip in clips:
    by_name.setdefault(stem(clip.audio_id), []).append(clip.audio_id)
  path = pathlib.Path(records)
  is_published = path.suffix.lower() == ".json"
  read = meta_line.read_published if is_published else record_lines.read
  lines, places = {}, {}
  for record in read(path):
    for audio_id in by_name.get(stem(record.audio or record.id), ()):
      # Of clips with one name, that whose folder is the same.
      is_same = record.audio == audio_id
      if is_same or not places.get(audio_id):
        lines[audio_id] = record.meta_line()
        places[audio_id] = is_same
  return lines


def _fit(
  clips: Sequence[Sampled],
  lines: Mapping[str, str],
  sounds: AudioFiles | None,
  values: Mapping[str, object],
) -> bytes:
  """Renders the page with as much as it has room for."""
  chosen = len(clips)

  def render(found: Media) -> bytes:
    shown = [_show(clip, lines.get(clip.audio_id, ""), found) for clip in clips]
    questions = [question for clip in shown for question in clip.questions]
    return html.render(
      _TEMPLATES,
      "evaluate",
      **values,
      clips=shown,
      shown=len(questions),
      tasks=sorted({question.task for question in questions}),
      datasets=sorted({question.dataset for question in questions}),
      gates=sorted({flag.gate for x in questions for flag in x.flags}),
      left_out=found.left_out,
      clips_left_out=chosen - len(clips),
      megabytes=PAGE_BYTES // 1_000_000,
    )

  while len(page := render(media.NONE)) > PAGE_BYTES / 2 and len(clips) > 1:
    clips = clips[: len(clips) // 2]
  if sounds is None:
    return page
  found = media.collect(
    (
      (clip.audio_id, functools.partial(_load, clip.audio_id, sounds))
      for clip in clips
    ),
    PAGE_BYTES - len(page),
  )
  return render(found)


def _load(audio_id: str, sounds: AudioFiles) -> Clip | str:
  """A clip's sound, or why there is none."""
  match = sounds.match(audio_id)
  if match is None:
    return "No sound: no file has this name."
  try:
    return media.make_clip(hear(match.path))
  except AudioError as error:
    return f"No sound: {error}."


def _show(clip: Sampled, line: str, found: Media) -> ShownClip:
  """A clip for the page."""
  return ShownClip(
    stem(clip.audio_id) or clip.audio_id,
    clip.audio_id,
    sorted({entry.dataset for entry, _ in clip.questions}),
    _cut(line),
    [
      Shown(
        entry.task,
        entry.dataset,
        _cut(f"{entry.instruction} {entry.input}".strip()),
        _cut(entry.output),
        flags,
      )
      for entry, flags in clip.questions
    ],
    clip.left_out,
    found.clips.get(clip.audio_id),
    found.reasons.get(clip.audio_id, ""),
  )


def _cut(text: str) -> str:
  """A text that is not too long."""
  return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"
