"""Folders of evaluation sets with a few made-up clips; no test by itself.

Each is written in the format in which its owners distribute it, or as the
published evaluation file with the audio beside it.
"""

import csv
import io
import json
import pathlib

import numpy as np
import soundfile

OWNERS, PUBLISHED = "owners", "published"

_PUBLISHED_NAMES = {
  "esc50": "esc50.json",
  "dcase2017": "dcase17.json",
  "vocalsound": "vocalsound_test.json",
  "tut2017": "tut_17.json",
  "beijing_opera": "beijing_opera.json",
  "vggsound": "vggsound_eval.json",
  "fsd50k": "fsd50k_eval.json",
  "audioset": "audioset_eval.json",
  "audiocaps": "audiocaps_test.json",
  "clotho": "clotho_caption_evaluation.json",
  "open_gpt3": "open_as_gpt3.json",
  "open_gpt4": "open_as_gpt4.json",
}
"""The published file of each set that has one."""

# Clips of the published files: name of the sound, and what is after the colon.
_ROWS = {
  "esc50": (("1-100032-A-0", "dog"), ("1-17092-A-27", "brushing_teeth")),
  "dcase2017": (
    ("Y-JMT0mK0Dbg_30.000_40.000", "Train horn"),
    ("YIuTfMfzkr5Y_120.000_130.000", "Air horn, truck horn"),
    ("YIuTfMfzkr5Y_120.000_130.000", "Car"),
  ),
  "vocalsound": (
    ("f0003_0_laughter", "Laughter"),
    ("m0012_1_throatclearing", "Throat clearing"),
  ),
  "tut2017": (("1", "cafe/restaurant"), ("1207", "city_center")),
  "beijing_opera": (
    ("205855__ajaysm__bangu-01", "Clapper\xad-drum"),
    ("205971__ajaysm__xiaoluo-12", "small gong"),
  ),
  "vggsound": (
    ("--U7joUcTCo_000000", "people coughing"),
    ("-0DLPzsiXXE_000030", "Bee, wasp, etc. buzzing"),
  ),
  "fsd50k": (
    ("37199", "Electric guitar; Guitar; Music"),
    ("175151", "Human voice; Speech"),
  ),
  "audioset": (
    ("--4gqARaEJE", "Male speech, man speaking; Radio"),
    ("LZq4Neh-oWU", "Bell; Church bell"),
  ),
}
_CAPTIONS = {
  "audiocaps": ("7fmOlUlwoNg", "6BJ455B1aAs"),
  "clotho": ("Santa Motor", "Röst i ett rum, 03"),
}
_SAID = (
  "A dog barks twice",
  "Two barks of a dog, far away",
  "An animal makes a noise",
  "Something barks outside",
  "A dog is barking while wind blows",
)
"""Captions of every clip."""


def names():
  """All sets that can be made, in the order of the catalog."""
  return [*_PUBLISHED_NAMES, "mmau", "air_bench"]


def forms(name):
  """In which forms a set is distributed."""
  if name in ("mmau", "air_bench"):
    return (OWNERS,)
  return (PUBLISHED,) if name.startswith("open_") else (OWNERS, PUBLISHED)


def make(data, name, form=None):
  """Writes a set.

  Args:
    data: The folder for --data; the set gets a folder of its name in it.
    name: Of the set.
    form: One of `forms`; None is the first of them.

  Returns:
    The set's folder.
  """
  folder = pathlib.Path(data) / name
  folder.mkdir(parents=True)
  form = form or forms(name)[0]
  if form == PUBLISHED:
    _make_published(folder, name)
  else:
    globals()[f"_make_{name}"](folder)
  return folder


def sound(path, number=0):
  """Writes half a second of noise, another for each number."""
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = np.random.default_rng(number).uniform(-0.3, 0.3, 8000)
  soundfile.write(path, noise, 16000)


def write_csv(path, rows, **form):
  """Writes rows of cells; `form` as of csv.writer."""
  text = io.StringIO()
  csv.writer(text, **{"lineterminator": "\n"} | form).writerows(rows)
  write(path, text.getvalue())


def write_json(path, value):
  """Writes a JSON file."""
  write(path, json.dumps(value, ensure_ascii=False, indent=1))


def write(path, text):
  """Writes a file, and the folder that it is in."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(text.encode())


def published_row(audio, output, instruction="Which sounds are there?"):
  """An object of a published file; its path is of somebody's disk."""
  return {
    "instruction": instruction,
    "input": "",
    "audio_id": f"/data/somebody/audio/{audio}.flac",
    "dataset": "made up",
    "task": "cla",
    "output": output,
  }


def _make_published(folder, name):
  """FLAC files in the folder, the list above it."""
  if name in _CAPTIONS:
    # All first captions come first: rows of a clip are not neighbours.
    rows = [
      published_row(audio, f"Audio caption: {said}.")
      for said in _SAID
      for audio in _CAPTIONS[name]
    ]
  elif name.startswith("open_"):
    rows = [
      published_row("--4gqARaEJE", "They greet.", "What do the people do?"),
      published_row("--4gqARaEJE", "In a hall.", "Where was it recorded?"),
      published_row("LZq4Neh-oWU", "A wedding.", "What may the bells be for?"),
    ]
  else:
    rows = [published_row(a, f"Labels: {label}") for a, label in _ROWS[name]]
  write_json(folder.parent / _PUBLISHED_NAMES[name], rows)
  audios = dict.fromkeys(pathlib.Path(r["audio_id"]).stem for r in rows)
  for number, audio in enumerate(audios):
    # As WAV: the list says FLAC, and names of its folders are not ours.
    sound(folder / "audio" / f"{audio}.wav", number)


def _make_esc50(folder):
  header = "filename,fold,target,category,esc10,src_file,take"
  rows = [
    "1-100032-A-0.wav,1,0,dog,True,100032,A",
    "1-17092-A-27.wav,1,27,brushing_teeth,False,17092,A",
    "5-9032-A-0.wav,5,0,dog,True,9032,A",
  ]
  write(folder / "meta" / "esc50.csv", "\n".join([header, *rows]) + "\n")
  for number, row in enumerate(rows):
    sound(folder / "audio" / row.split(",")[0], number)


def _make_dcase2017(folder):
  rows = [
    ("-JMT0mK0Dbg_30.000_40.000.wav", "30.000", "40.000", "Train horn"),
    ("IuTfMfzkr5Y_120.000_130.000.wav", "120.000", "130.000", "Car"),
    (
      "IuTfMfzkr5Y_120.000_130.000.wav",
      "120.000",
      "130.000",
      "Air horn, truck horn",
    ),
  ]
  release = folder / "groundtruth_release"
  path = release / "groundtruth_weak_label_evaluation_set.csv"
  write(path, "".join("\t".join(row) + "\r\n" for row in rows))
  audio = folder / "evaluation_set_formatted_audio_segments"
  for number, name in enumerate(dict.fromkeys(row[0] for row in rows)):
    sound(audio / f"Y{name}", number)


def _make_vocalsound(folder):
  clips = {
    "f0003_0_laughter": "/m/01j3sz",
    "m0012_1_throatclearing": "/m/0dl9sf8",
  }
  data = [
    {"spk_id": clip[:5], "wav": f"/home/x/audio_16k/{clip}.wav", "labels": code}
    for clip, code in clips.items()
  ]
  write_json(folder / "datafiles" / "te.json", {"data": data})
  for number, clip in enumerate(clips):
    sound(folder / "audio_16k" / f"{clip}.wav", number)
  sound(folder / "audio_16k" / "f0004_0_cough.wav")  # Of the training split.


def _make_tut2017(folder):
  rows = [("audio/1.wav", "cafe/restaurant"), ("audio/1207.wav", "city_center")]
  path = folder / "evaluation_setup" / "evaluate.txt"
  write(path, "".join("\t".join(row) + "\n" for row in rows))
  for number, (name, _) in enumerate(rows):
    sound(folder / name, number)


def _make_beijing_opera(folder):
  strokes = ("bangu-01", "daluo-02", "naobo-03", "xiaoluo-12")
  for number, stroke in enumerate(strokes):
    sound(folder / f"{205855 + number}__ajaysm__{stroke}.wav", number)


def _make_vggsound(folder):
  rows = [
    ("--U7joUcTCo", 0, "people coughing", "test"),
    ("-0DLPzsiXXE", 30, "bee, wasp, etc. buzzing", "test"),
    ("-0DLPzsiXXE", 90, "dog barking", "test"),
    ("---g-f_I2yQ", 1, "people marching", "train"),
  ]
  write_csv(folder / "vggsound.csv", rows)
  for number, (video, start, *_) in enumerate(rows):
    sound(folder / "video" / f"{video}_{start:06d}.flac", number)


def _make_fsd50k(folder):
  rows = [
    ("37199", "Electric_guitar,Guitar,Music", "/m/02sgy,/m/0342h,/m/04rlf"),
    ("175151", "Human_voice,Speech", "/m/09l8g,/m/09x0r"),
  ]
  truth = folder / "FSD50K.ground_truth"
  write_csv(truth / "eval.csv", [("fname", "labels", "mids"), *rows])
  write_csv(truth / "vocabulary.csv", [(0, "Accordion", "/m/0mkg")])
  for number, (name, *_) in enumerate(rows):
    sound(folder / "FSD50K.eval_audio" / f"{name}.wav", number)


def _make_audioset(folder):
  lines = [
    "# Segments csv created Sun Mar  5 10:54:25 2017",
    "# num_ytids=2, num_segs=2, num_unique_labels=4, num_positive_labels=4",
    "# YTID, start_seconds, end_seconds, positive_labels",
    '--4gqARaEJE, 0.000, 10.000, "/m/05zppz,/m/06bz3"',
    'LZq4Neh-oWU, 30.000, 40.000, "/m/0395lw,/m/03w41f"',
  ]
  write(folder / "eval_segments.csv", "\n".join(lines) + "\n")
  sound(folder / "eval" / "Y--4gqARaEJE.wav", 0)
  sound(folder / "eval" / "LZq4Neh-oWU_30.000_40.000.flac", 1)


def _make_audiocaps(folder):
  rows = [("audiocap_id", "youtube_id", "start_time", "caption")]
  for number, said in enumerate(_SAID):
    for place, video in enumerate(_CAPTIONS["audiocaps"]):
      rows.append((1000 + 2 * number + place, video, 20 + place, said))
  write_csv(folder / "test.csv", rows, lineterminator="\r\n")
  sound(folder / "test" / "Y7fmOlUlwoNg.wav", 0)
  sound(folder / "test" / "6BJ455B1aAs_21.flac", 1)


def _make_clotho(folder):
  header = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
  rows = [(f"{name}.wav", *_SAID) for name in _CAPTIONS["clotho"]]
  write_csv(folder / "clotho_captions_evaluation.csv", [header, *rows])
  for number, (name, *_) in enumerate(rows):
    sound(folder / "evaluation" / name, number)


def _make_mmau(folder):
  common = {
    "dataset": "AudioSet",
    "split": "test-mini",
    "category": "Reasoning",
  }
  rows = [
    {
      "id": id_,
      "audio_id": f"./test-mini-audios/{id_}.wav",
      "question": "Who is speaking?",
      "choices": choices,
      "answer": choices[0],
      "task": task,
      "sub-category": "Acoustic Source Inference",
      "difficulty": "medium",
    }
    | common
    for id_, task, choices in (
      ("3fe64f3d", "sound", ["Man", "Woman", "Child", "Robot"]),
      ("72fb5481", "speech", ["one", "three", "three", "zero"]),
    )
  ]
  write_json(folder / "mmau-test-mini.json", rows)
  for number, row in enumerate(rows):
    sound(folder / row["audio_id"], number)


def _make_air_bench(folder):
  four = {
    f"choice_{c}": f"{n} seconds" for c, n in zip("abcd", "1234", strict=True)
  }
  two = {"choice_a": "yes", "choice_b": "no", "choice_c": None}
  rows = [
    {
      "task_name": task,
      "dataset_name": dataset,
      "path": path,
      "uniq_id": number,
    }
    | {"question": "What is it?", "answer_gt": choices["choice_b"]}
    | choices
    for number, (task, dataset, path, choices) in enumerate(
      (
        ("Audio_Grounding", "AudioGrounding", "Y_GI7meqlYZk.wav", four),
        ("Sound_AQA", "avqa", "3049.flac", four),
        ("Sound_AQA", "clothoaqa", "river_mouth3.wav", two),
        ("Music_AQA", "music_avqa", "3049.flac", four),
      )
    )
  ]
  foundation = folder / "Foundation"
  write_json(foundation / "Foundation_meta.json", rows)
  for number, row in enumerate(rows):
    place = foundation / f"{row['task_name']}_{row['dataset_name']}"
    path = place / row["path"]
    # As the owners have it: the list says .wav.
    if row["task_name"] == "Audio_Grounding":
      path = path.with_suffix(".flac")
    sound(path, number)
