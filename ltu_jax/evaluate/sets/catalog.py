"""All sets, in the order of the paper's table, and which of them a folder has.

DIR is what --data names: a folder with a folder for each set. The published
evaluation files may lie in DIR itself or in the folders of their sets.
"""

import pathlib
from collections.abc import Mapping, Sequence

from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets import (
  air_bench,
  audiocaps,
  audioset,
  beijing_opera,
  clotho,
  dcase2017,
  esc50,
  fsd50k,
  mmau,
  open_ended,
  questions,
  tut2017,
  vggsound,
  vocalsound,
)
from ltu_jax.evaluate.sets.reading import SetNotThereError
from ltu_jax.evaluate.sets.spec import (
  CAPTIONS,
  CHOICE,
  CLASSIFICATION,
  OPEN,
  Found,
  Spec,
)

ALL = "all"
"""Names every set that is there."""


def _classes(published: tuple[float, float], **fields) -> Spec:
  """A classification set; results are of LTU-7B and LTU-13B."""
  return Spec(
    kind=CLASSIFICATION,
    question=questions.CAPTION,
    label_question=questions.LABELS,
    published=_published(published),
    **fields,
  )


def _published(both: tuple[float, float]) -> Mapping[str, float]:
  """Results in percent by model."""
  return dict(zip(("LTU-7B", "LTU-13B"), both, strict=True))


_OPEN = {
  "kind": OPEN,
  "metric": "instruction following",
  # The paper has one number; of which of the two files is not known.
  "published": _published((96.9, 95.4)),
}

_SPECS = (
  _classes(
    (83.1, 83.6),
    name="esc50",
    title="ESC-50",
    metric="accuracy",
    folders=("esc50", "ESC-50", "ESC-50-master"),
    find=esc50.find,
    layout="meta/esc50.csv and audio/*.wav, or esc50.json and the audio",
  ),
  _classes(
    (45.9, 44.7),
    name="dcase2017",
    title="DCASE 2017",
    metric="micro F1",
    folders=("dcase2017", "DCASE2017", "dcase17"),
    find=dcase2017.find,
    layout="groundtruth_weak_label_evaluation_set.csv and Y*.wav, or "
    "dcase17.json and the audio",
  ),
  _classes(
    (55.6, 64.2),
    name="vocalsound",
    title="VocalSound",
    metric="accuracy",
    folders=("vocalsound", "VocalSound", "vs_release_16k", "vs_release_44k"),
    find=vocalsound.find,
    layout="datafiles/te.json and audio_16k/*.wav, or vocalsound_test.json and "
    "the audio",
  ),
  _classes(
    (32.5, 31.0),
    name="tut2017",
    title="TUT 2017",
    metric="accuracy",
    folders=("tut2017", "TUT2017", "TUT-acoustic-scenes-2017-evaluation"),
    find=tut2017.find,
    layout="evaluation_setup/evaluate.txt and audio/*.wav, or tut_17.json and "
    "the audio",
  ),
  _classes(
    (69.9, 52.1),
    name="beijing_opera",
    title="Beijing Opera",
    metric="accuracy",
    folders=("beijing_opera", "beijing_opera_percussion_instrument_1.0"),
    find=beijing_opera.find,
    layout="*__INSTRUMENT-*.wav, or beijing_opera.json and the audio",
  ),
  _classes(
    (50.3, 50.7),
    name="vggsound",
    title="VGGSound",
    metric="accuracy",
    folders=("vggsound", "VGGSound"),
    find=vggsound.find,
    layout="vggsound.csv and ID_SECONDS.wav, such as ID_000030.wav, or "
    "vggsound_eval.json and the audio",
  ),
  _classes(
    (46.3, 46.8),
    name="fsd50k",
    title="FSD50K",
    metric="mAP",
    folders=("fsd50k", "FSD50K"),
    find=fsd50k.find,
    layout="FSD50K.ground_truth/eval.csv and FSD50K.eval_audio/*.wav, or "
    "fsd50k_eval.json and the audio",
  ),
  _classes(
    (18.7, 17.9),
    name="audioset",
    title="AudioSet",
    metric="mAP",
    folders=("audioset", "AudioSet"),
    find=audioset.find,
    layout="eval_segments.csv and ID.wav or YID.wav, or audioset_eval.json and "
    "the audio",
  ),
  Spec(
    name="audiocaps",
    title="AudioCaps",
    kind=CAPTIONS,
    metric="SPICE",
    folders=("audiocaps", "AudioCaps"),
    find=audiocaps.find,
    question=questions.AUDIOCAPS,
    published=_published((17.0, 16.9)),
    layout="test.csv and ID.wav, YID.wav or ID_SECONDS.wav, or "
    "audiocaps_test.json and the audio",
  ),
  Spec(
    name="clotho",
    title="Clotho",
    kind=CAPTIONS,
    metric="SPICE",
    folders=("clotho", "Clotho", "clotho_v2"),
    find=clotho.find,
    question=questions.CLOTHO,
    published=_published((11.9, 12.1)),
    layout="clotho_captions_evaluation.csv and evaluation/*.wav, or "
    "clotho_caption_evaluation.json and the audio",
  ),
  Spec(
    name="open_gpt3",
    title="Open-ended (GPT-3.5)",
    folders=("open_gpt3", "open_ended", "audioset", "AudioSet"),
    find=open_ended.find_gpt3,
    layout="open_as_gpt3.json and AudioSet's evaluation audio",
    **_OPEN,
  ),
  Spec(
    name="open_gpt4",
    title="Open-ended (GPT-4)",
    folders=("open_gpt4", "open_ended", "audioset", "AudioSet"),
    find=open_ended.find_gpt4,
    layout="open_as_gpt4.json and AudioSet's evaluation audio",
    **_OPEN,
  ),
  Spec(
    name="mmau",
    title="MMAU (test-mini)",
    kind=CHOICE,
    metric="accuracy",
    folders=("mmau", "MMAU"),
    find=mmau.find,
    layout="mmau-test-mini.json and test-mini-audios/*.wav",
  ),
  Spec(
    name="air_bench",
    title="AIR-Bench (foundation, sound)",
    kind=CHOICE,
    metric="accuracy",
    folders=("air_bench", "AIR-Bench", "AIR-Bench-Dataset"),
    find=air_bench.find,
    layout="Foundation/Foundation_meta.json and Foundation/TASK_DATASET/*",
  ),
)

SETS: Mapping[str, Spec] = {spec.name: spec for spec in _SPECS}
"""The sets by name."""


def find_all(
  data: pathlib.Path,
  names: Sequence[str],
  sets: Mapping[str, Spec] = SETS,
) -> dict[str, Found | str]:
  """Reads sets of a folder.

  Args:
    data: The folder.
    names: Of sets; or "all", which is every set that is there.
    sets: All sets that there are.

  Returns:
    By name what was found. With "all", instead of a set that is not there, or
    of which no sound is, a text that says what was missed.

  Raises:
    EvaluateError: A name is unknown, a set is damaged, a set that was named is
      not there, or none is.
  """
  if not data.is_dir():
    raise EvaluateError(f"{data}: no such folder of evaluation sets.")
  if unknown := sorted(set(names) - {ALL, *sets}):
    raise EvaluateError(
      f"unknown set {unknown[0]!r}; known ones are {ALL}, {', '.join(sets)}."
    )
  if ALL not in names:
    return {name: _find(data, sets[name]) for name in names}
  found: dict[str, Found | str] = {}
  for name, spec in sets.items():
    try:
      found[name] = _find(data, spec)
    except SetNotThereError as error:
      found[name] = str(error)
  if all(isinstance(each, str) for each in found.values()):
    raise EvaluateError(
      f"{data}: no evaluation set is there; a set's folder has the set's name, "
      f"such as {next(iter(sets))}."
    )
  return found


def _find(data: pathlib.Path, spec: Spec) -> Found:
  """Reads a set of a folder; raises as `find_all`."""
  places = [data / folder for folder in spec.folders]
  folder = next((place for place in places if place.is_dir()), places[0])
  try:
    return spec.find(folder)
  except SetNotThereError as error:
    raise SetNotThereError(
      f"{error} Expected in {folder}: {spec.layout}."
    ) from error
