"""How all sets are read: rows become items, and their sounds are looked for."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets import label_list, published_json
from ltu_jax.evaluate.sets.audio_files import AudioFiles
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.spec import Found, Item
from ltu_jax.evaluate.sets.tables import Row


class SetNotThereError(EvaluateError):
  """A folder has no metadata of the set, or none of its sounds."""


ReadClips = Callable[[pathlib.Path, LabelList, str], Iterable[Clip]]
"""Yields what a metadata file lists; takes labels and question of the set."""


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where a set's metadata is, and how it becomes clips.

  Attributes:
    title: The set's name for people.
    metadata: The owners' file: names in the set's folder, the first that is
      there is read. It may also lie one folder deeper, as archives have one.
    published: Name of the published evaluation file; "" if there is none.
    clips: Reads the owners' file; None if they have none.
    published_clips: Reads the published file; None if there is none.
    question: What is asked about each clip; "" if each has its own.
    labels: The classes.
  """

  title: str
  metadata: Sequence[str]
  published: str
  clips: ReadClips | None = None
  published_clips: ReadClips | None = None
  question: str = ""
  labels: LabelList = label_list.NONE


def find(folder: pathlib.Path, layout: Layout) -> Found:
  """Reads a set's folder.

  The published evaluation file decides if it is there, in the folder or the one
  above: it is what the published results stand on.

  Raises:
    SetNotThereError: The folder has no metadata of the set or no sound of it.
    EvaluateError: The metadata is damaged; names file and line.
  """
  read = layout.published_clips
  path = published_json.locate(folder, layout.published)
  if path is None:
    read = layout.clips
    path = _locate(folder, layout.metadata)
  if path is None:
    names = [name for name in (*layout.metadata, layout.published) if name]
    raise SetNotThereError(
      f"{folder}: no {layout.title} here: there is no {' and no '.join(names)}."
    )
  clips = read(path, layout.labels, layout.question)
  return gather(
    clips, AudioFiles(folder), layout.title, (path,), layout.labels.labels
  )


def gather(
  clips: Iterable[Clip],
  files: AudioFiles,
  title: str,
  source: tuple[pathlib.Path, ...],
  labels: tuple[str, ...] = (),
) -> Found:
  """Looks for the sounds of clips.

  Raises:
    SetNotThereError: There is no sound of any.
    EvaluateError: Two clips have the same id, or see above.
  """
  items: list[Item] = []
  missing: list[str] = []
  seen: set[str] = set()
  for clip in clips:
    if clip.id in seen:
      raise EvaluateError(
        f"{clip.where}: {clip.id} is there twice; take one out of the file."
      )
    seen.add(clip.id)
    path = files.find(clip.names, in_place=clip.in_place)
    if path is None:
      missing.append(clip.id)
      continue
    items.append(
      Item(
        clip.id,
        path.name,
        path,
        clip.question,
        clip.truth,
        clip.input,
        clip.choices,
        clip.group,
      )
    )
  if not seen:
    raise EvaluateError(f"{source[0]}: lists nothing.")
  if not items:
    raise SetNotThereError(
      f"{files.folder}: no sound of {title} here: none of the {len(seen)} that "
      f"{source[0].name} lists, such as {missing[0]}."
    )
  return Found(items, len(seen), tuple(missing), source, labels)


def joined(clips: Iterable[Clip]) -> Iterator[Clip]:
  """Yields each clip once, with the truths of all its rows in their order."""
  by_id: dict[str, Clip] = {}
  for clip in clips:
    first = by_id.setdefault(clip.id, clip)
    if first is not clip:
      by_id[clip.id] = dataclasses.replace(
        first, truth=first.truth + clip.truth
      )
  yield from by_id.values()


def numbered(clips: Iterable[Clip]) -> Iterator[Clip]:
  """Tells rows of one clip apart by a number: ID, ID#2, ID#3, ...

  Raises:
    EvaluateError: Two rows of a clip have the same truth.
  """
  truths: dict[str, list[tuple[str, ...]]] = {}
  for clip in clips:
    others = truths.setdefault(clip.id, [])
    if clip.truth in others:
      raise EvaluateError(
        f"{clip.where}: {clip.id} has {clip.truth[0]!r} twice; take one out of "
        "the file."
      )
    others.append(clip.truth)
    number = f"#{len(others)}" if len(others) > 1 else ""
    yield dataclasses.replace(clip, id=clip.id + number)


def check_unique(rows: Iterable[Row], key: str) -> None:
  """Raises EvaluateError if two rows have the same in a column."""
  seen = set()
  for row in rows:
    value = row.text(key)
    if value in seen:
      raise row.error(f"{key} {value} is there twice; take one out of the file")
    seen.add(value)


def _locate(folder: pathlib.Path, names: Sequence[str]) -> pathlib.Path | None:
  """The owners' file.

  Raises:
    EvaluateError: Several folders have it.
  """
  for name in names:
    if (folder / name).is_file():
      return folder / name
  for name in names:
    found = sorted(path for path in folder.glob(f"*/{name}") if path.is_file())
    if len(found) > 1:
      raise EvaluateError(
        f"{found[0]} and {found[1]} are both there; leave one of them."
      )
    if found:
      return found[0]
  return None
