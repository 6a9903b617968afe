"""AudioSet's strong labels: which sounds are in a clip, and when.

audioset_train_strong.tsv, audioset_eval_strong.tsv
  segment_id, start_time_seconds, end_time_seconds, label: a row for each event,
  those of a clip next to each other; a segment is YTID_START, in milliseconds
mid_to_display_name.tsv
  names of classes; taken from beside the table if it is not named
CAPTIONS.json (optional)
  captions of the clips, as WavCaps has them for AudioSet: see freesound.py
"""

import itertools
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.records import ClipRecord, Event, Span
from ltu_jax.aqa.sources import freesound, label_names
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import tables, youtube
from ltu_jax.evaluate.sets.audio_files import stem
from ltu_jax.evaluate.sets.tables import Row

_COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")

_SECONDS = 10
"""Length of a clip."""


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips of a table.

  Args:
    paths: The table, and the other two files in any order.
    dataset: What to call it; empty for its own name.

  Raises:
    AqaError: There are no names of classes.
    EvaluateError: A file is damaged; names the line.
  """
  table, *others = paths
  split = next((s for s in ("train", "eval") if s in table.stem), "")
  dataset = dataset or "as_strong" + (f"_{split}" if split else "")
  # ontology.json is the one other JSON file that may be named.
  captions = [
    path
    for path in others
    if path.suffix == ".json" and path.stem != "ontology"
  ]
  names = [path for path in others if path not in captions]
  if not names:
    names = [table.with_name(label_names.STRONG)]
    if not names[0].is_file():
      raise AqaError(
        f"{table}: the names of its classes are needed: put "
        f"{label_names.STRONG} beside it, or name it behind it and a comma."
      )
  return _clips(
    table,
    label_names.read(names[0]),
    _captions(captions),
    ClipRecord("", dataset, split=split),
  )


def _clips(
  table: pathlib.Path,
  names: Mapping[str, str],
  captions: Mapping[str, tuple[str, ...]],
  like: ClipRecord,
) -> Iterator[Listed]:
  """Yields the clips of a table, whose rows of a clip are neighbours."""
  rows = tables.read_csv(table, _COLUMNS, tabs=True)
  seen = set()
  for segment, group in itertools.groupby(
    rows, lambda row: row.text("segment_id")
  ):
    first, *more = group
    if segment in seen:
      raise first.error(
        f"{segment} comes again, with others in between; sort the file"
      )
    seen.add(segment)
    video, start = _segment(first, segment)
    files = youtube.names(video, start, start + _SECONDS, alone=True)
    record = ClipRecord(
      video,
      like.dataset,
      _events([first, *more], names),
      captions.get(video, ()),
      files[0],
      like.split,
    )
    yield Listed(record, files, first.where, seconds=_SECONDS)


def _segment(row: Row, segment: str) -> tuple[str, float]:
  """YouTube's id and the start in seconds."""
  video, _, start = segment.rpartition("_")
  if not video or not start.isdecimal():
    raise row.error(
      f"{segment!r} is no segment; it has to be YTID_MILLISECONDS"
    )
  return video, int(start) / 1000


def _events(rows: Iterable[Row], names: Mapping[str, str]) -> tuple[Event, ...]:
  """The sounds of a clip in order of onset, each with all its times."""
  spans = defaultdict(list)
  for row in rows:
    onset, offset = row.number(_COLUMNS[1]), row.number(_COLUMNS[2])
    if offset < onset:
      raise row.error(f"{onset:g}-{offset:g} s ends before it starts")
    label = label_names.name(row, names, row.text("label"))
    spans[label].append(Span(onset, offset))
  events = (
    Event(label, spans=tuple(sorted(each, key=lambda span: span.onset)))
    for label, each in spans.items()
  )
  return tuple(sorted(events, key=lambda event: event.onset))


def _captions(paths: Sequence[pathlib.Path]) -> dict[str, tuple[str, ...]]:
  """Captions by YouTube id; their names have a Y in front."""
  return {
    stem(clip.names[0]).removeprefix("Y"): clip.record.captions
    for path in paths
    for clip in freesound.read([path])
  }
