"""Tables of labelled sounds in their owners' formats; no test by itself."""

import csv
import io
import json
import pathlib

import numpy as np
import soundfile


def _csv(rows, **form):
  text = io.StringIO()
  csv.writer(text, **{"lineterminator": "\n"} | form).writerows(rows)
  return text.getvalue()


_SAID = [f"A dog barks {times}" for times in ("once", "twice", "far, far away")]

# Those of audioset_train_strong.tsv whose names are not among the 527 classes.
_NAMES = (
  "/m/05zppz\tMale speech, man speaking\n"
  "/t/dd00012\tHuman group actions\n"
  "/m/07pp_mv\tAlarm\n"
)

FILES = {
  "balanced_train_segments.csv": (
    "# Segments csv created Sun Mar  5 10:54:25 2017\n"
    "# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=4\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
    '--4gqARaEJE, 0.000, 10.000, "/m/05zppz,/m/06bz3"\n'
    'LZq4Neh-oWU, 30.000, 40.000, "/m/0395lw,/m/0395lw"\n'
  ),
  "class_labels_indices.csv": (
    "index,mid,display_name\n"
    '0,/m/05zppz,"Man, speaking"\n1,/m/06bz3,"Radio"\n2,/m/0395lw,"Bell"\n'
  ),
  "ontology.json": json.dumps(
    [
      {"id": "/m/05zppz", "name": "Man", "child_ids": [], "restrictions": []},
      {"id": "/m/06bz3", "name": "Radio", "child_ids": [], "restrictions": []},
      {"id": "/m/0395lw", "name": "Bell", "child_ids": [], "restrictions": []},
    ]
  ),
  "audioset_train_strong.tsv": (
    "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
    "b0RFKhbpFJA_30000\t4.753\t5.720\t/m/05zppz\n"
    "b0RFKhbpFJA_30000\t0.000\t10.000\t/m/07pp_mv\n"
    "b0RFKhbpFJA_30000\t0.440\t1.250\t/m/05zppz\n"
    "-x_y-z_0aB1_0\t2.000\t2.000\t/t/dd00012\n"
  ),
  "mid_to_display_name.tsv": _NAMES,
  "AudioSet_SL.json": json.dumps(
    {
      "num_captions_per_audio": 1,
      "data": [
        {
          "id": "Yb0RFKhbpFJA.wav",
          "caption": "An alarm rings while a man speaks.",
          "audio": "wav_path",
          "duration": 10.0,
        }
      ],
    },
    indent=1,
  ),
  "vggsound.csv": _csv(
    [
      ("---g-f_I2yQ", 1, "people marching", "test"),
      ("--0PQM4-hqg", 30, "waterfall burbling", "train"),
      ("-0DLPzsiXXE", 30, "bee, wasp, etc. buzzing", "train"),
      ("-0DLPzsiXXE", 90, "dog barking", "train"),
    ]
  ),
  "dev.csv": (
    "fname,labels,mids,split\n"
    '64760,"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf",train\n'
    "16399,Tap,/m/07qcpgn,val\n"
  ),
  "eval.csv": "fname,labels,mids\n37199,Tap,/m/07qcpgn\n",
  "esc50.csv": (
    "filename,fold,target,category,esc10,src_file,take\n"
    "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
    "5-9032-A-0.wav,5,27,brushing_teeth,False,9032,A\n"
  ),
  "train.csv": _csv(
    [
      ("audiocap_id", "youtube_id", "start_time", "caption"),
      (91139, "r1nicOVtvkQ", 130, _SAID[0]),
      (58146, "7fmOlUlwoNg", 20, _SAID[2]),
    ],
    lineterminator="\r\n",
  ),
  "val.csv": _csv(
    [
      ("audiocap_id", "youtube_id", "start_time", "caption"),
      (97151, "vfY_TJq7n_U", 130, _SAID[0]),
      (97152, "rqu8iB22I_Y", 5, _SAID[0]),
      (97153, "vfY_TJq7n_U", 130, _SAID[1]),
    ]
  ),
  "clotho_captions_development.csv": _csv(
    [
      ("file_name", *(f"caption_{number}" for number in range(1, 6))),
      ("Distorted AM Radio noise.wav", *_SAID, *_SAID[:2]),
      ("Röst i ett rum, 03.wav", *_SAID, *_SAID[:2]),
    ]
  ),
  "fsd_final.json": json.dumps(
    {
      "num_captions_per_audio": 1,
      "data": [
        {
          "id": "180913",
          "title": "Rain.wav",
          "description": "rain on my roof",
          "author": "somebody",
          "href": "/people/somebody/sounds/180913/",
          "caption": "Rain falls.",
          "duration": 9.5,
          "audio": "wav_path",
          "download_link": "https://freesound.org/people/somebody/180913/",
          "tags": ["rain", "field-recording"],
        },
        {"id": 7, "caption": ["Wind.", "It is windy."], "duration": 300},
      ],
    }
  ),
  "sb_final.json": json.dumps(
    {"num_captions_per_audio": 1, "data": [{"id": "2219", "caption": "A jet."}]}
  ),
  "own.jsonl": (
    '{"id": "one", "dataset": "mine", "audio": "deep/one.flac", "split": "a",'
    ' "events": [{"label": "Tap", "feature": "Dull",'
    ' "spans": [[4, 5.5], [1, 2]]},'
    ' {"label": "Bell", "spans": [[0.5, 9]]}], "captions": ["A tap."]}\n'
    "\n"
    '{"id": "two", "captions": ["Wind."], "comment": 3}\n'
  ),
}
"""By name, as their owners have them."""

SOUNDS = (
  "balanced/Y--4gqARaEJE.wav",
  "balanced/LZq4Neh-oWU_30.000_40.000.flac",
  "strong/b0RFKhbpFJA_30000.wav",
  "strong/Y-x_y-z_0aB1.wav",
  "vgg/--0PQM4-hqg_000030.wav",
  "vgg/-0DLPzsiXXE_000030.flac",
  "vgg/-0DLPzsiXXE_000090.flac",
  "fsd/FSD50K.dev_audio/64760.wav",
  "fsd/FSD50K.dev_audio/16399.wav",
  "fsd/FSD50K.eval_audio/37199.wav",
  "esc/audio/1-100032-A-0.wav",
  "esc/audio/5-9032-A-0.wav",
  "caps/r1nicOVtvkQ.wav",
  "caps/Y7fmOlUlwoNg.flac",
  "caps/vfY_TJq7n_U_130.wav",
  "caps/rqu8iB22I_Y_000005.wav",
  "clotho/development/Distorted AM Radio noise.wav",
  "clotho/development/Röst i ett rum, 03.wav",
  "freesound/180913.flac",
  "freesound/7.flac",
  "soundbible/2219.flac",
  "own/deep/one.flac",
  "own/two.wav",
)
"""The sound of each clip, under a name that some downloader gives it."""


def write(folder, *names):
  """Writes tables, all by default; returns the folder."""
  folder = pathlib.Path(folder)
  for name in names or FILES:
    (folder / name).write_bytes(FILES[name].encode())
  return folder


def write_sounds(folder, names=SOUNDS, seconds=0.3):
  """Writes sounds, noise that tells them apart; returns the folder."""
  folder = pathlib.Path(folder)
  for number, name in enumerate(names):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    size = round(16000 * seconds)
    noise = np.random.default_rng(number).uniform(-0.3, 0.3, size)
    soundfile.write(path, noise, 16000)
  return folder


def every(folder):
  """Arguments for all tables of a folder."""
  whole = lambda names: ",".join(str(folder / n) for n in names.split(","))
  return [
    f"--source={kind}:{whole(names)}"
    for kind, names in (
      ("audioset", "balanced_train_segments.csv"),
      ("audioset_strong", "audioset_train_strong.tsv,AudioSet_SL.json"),
      ("vggsound", "vggsound.csv"),
      ("fsd50k", "dev.csv"),
      ("fsd50k", "eval.csv"),
      ("esc50", "esc50.csv"),
      ("audiocaps", "train.csv"),
      ("audiocaps", "val.csv"),
      ("clotho", "clotho_captions_development.csv"),
      ("freesound", "fsd_final.json"),
      ("freesound", "sb_final.json"),
      ("jsonl", "own.jsonl"),
    )
  ]
