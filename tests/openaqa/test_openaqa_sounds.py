"""The committed table, and sounds from packages and from folders."""

import collections
import csv
import hashlib
import io
import re
import struct

import numpy as np
import pytest
import soundfile

import made_up_sounds
from ltu_jax.aqa import records
from ltu_jax.audio.decode import AudioError
from tfds_builders.openaqa import acoustics, fetch, sounds


def _rows():
  with open(sounds.SOUNDS_TABLE, newline="") as file:
    return list(csv.DictReader(file, delimiter="\t"))


def _wav(samples, rate=16000):
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
  return file.getvalue()


def test_table_splits_by_recording():
  splits = collections.defaultdict(set)
  for row in _rows():
    splits[row["label"], row["recording"]].add(row["split"])
  assert all(len(found) == 1 for found in splits.values())
  counts = collections.Counter(
    (label, *split) for (label, _), split in splits.items()
  )
  labels = {label for label, _ in splits}
  assert 12 <= len(labels) <= 18
  for label in labels:
    train, test = counts[label, "train"], counts[label, "test"]
    assert train >= 2
    assert test == max(1, round((train + test) / 3))


def test_table_has_no_file_and_no_content_twice():
  rows = _rows()
  assert len({(row["package"], row["path"]) for row in rows}) == len(rows)
  assert len({row["sha256"] for row in rows}) == len(rows)


def test_table_names_known_packages_and_classes():
  rows = _rows()
  assert {r["package"] for r in rows} == {p.name for p in fetch.PACKAGES}
  facts = records.read_facts(sounds.CLASSES_TABLE)
  assert {row["label"] for row in rows} == set(facts)
  assert {f.origin for f in facts.values()} == {
    "machine",
    "music",
    "nature",
    "person",
  }


@pytest.fixture
def package(tmp_path, monkeypatch):
  """A small package: two files, and two sounds in an OpenTTD sound file."""
  root = tmp_path / "some-package"
  root.mkdir()
  waves = [_wav(made_up_sounds.tone(400 + 100 * i, 0.2)) for i in range(4)]
  (root / "a.wav").write_bytes(waves[0])
  (root / "b.wav").write_bytes(waves[1])
  entries, offset = [], 16
  for wave in waves[2:]:
    entry = b"\x05name\0" + wave + b"\x03hey"
    entries.append((offset, entry))
    offset += len(entry)
  # The top bit of an offset is a flag that readers clear.
  head = b"".join(
    struct.pack("<II", start | 0x80000000, len(e)) for start, e in entries
  )
  (root / "all.cat").write_bytes(head + b"".join(e for _, e in entries))
  table = tmp_path / "sounds.tsv"
  paths = ["a.wav", "b.wav", "all.cat#0", "all.cat#1"]
  recordings = ["one", "one", "two", "three"]
  splits = ["train", "train", "train", "test"]
  lines = ["package\tpath\tlabel\trecording\tsplit\tsha256"]
  for path, name, split, wave in zip(
    paths, recordings, splits, waves, strict=True
  ):
    digest = hashlib.sha256(wave).hexdigest()
    lines.append(f"p\t{path}\tFire\t{name}\t{split}\t{digest}")
  table.write_text("\n".join(lines) + "\n")
  monkeypatch.setattr(sounds, "SOUNDS_TABLE", table)
  return root


def test_package_gives_recordings_with_their_takes(package):
  bank = sounds.from_packages({"p": package})
  assert [(r.name, r.split, len(r.takes)) for r in bank.recordings] == [
    ("one", "train", 2),
    ("three", "test", 1),
    ("two", "train", 1),
  ]
  # The second sound of all.cat, bit by bit.
  expected, _ = soundfile.read(
    io.BytesIO(_wav(made_up_sounds.tone(700, 0.2))), dtype="int16"
  )
  np.testing.assert_array_equal(bank.recordings[1].takes[0], expected)
  assert bank.features["Fire"] == "Crackling and irregular"


def test_changed_file_is_named(package):
  (package / "b.wav").write_bytes(_wav(made_up_sounds.tone(999, 0.2)))
  with pytest.raises(sounds.SoundsError, match=r"p: b\.wav: is not the sound"):
    sounds.from_packages({"p": package})


def test_missing_file_is_named(package):
  (package / "a.wav").unlink()
  with pytest.raises(sounds.SoundsError, match=r"a\.wav: is missing; remove"):
    sounds.from_packages({"p": package})


def test_folder_gives_a_split_by_clip(tmp_path):
  bank = made_up_sounds.bank(tmp_path)
  labels = {"Fire", "Low hum", "Mid beep", "Whistle"}
  assert set(bank.by_label("train")) == set(bank.by_label("test")) == labels
  for label in labels:
    train = {r.name for r in bank.by_label("train")[label]}
    test = {r.name for r in bank.by_label("test")[label]}
    assert (len(train), len(test)) == (3, 1)
    assert not train & test


def test_folder_takes_known_features_and_measures_others(tmp_path):
  assert made_up_sounds.bank(tmp_path).features == {
    "Fire": "Crackling and irregular",
    "Low hum": "Low-pitched and sustained",
    "Mid beep": "Mid-pitched and sustained",
    "Whistle": "High-pitched and sustained",
  }


def test_short_sound_is_called_short():
  tick = np.zeros(16000, np.int16)
  tick[:1600] = made_up_sounds.tone(4000, 0.1) * 20000
  assert acoustics.describe([tick]) == "High-pitched and short"


def test_folder_reads_other_formats(tmp_path):
  folder = made_up_sounds.write_folder(tmp_path / "sounds")
  wave = made_up_sounds.tone(700, 0.5)
  soundfile.write(folder / "Fire" / "x.flac", np.stack([wave, wave], 1), 44100)
  soundfile.write(folder / "Fire" / "y.ogg", wave, 22050)
  (folder / "Fire" / "notes.txt").write_text("not a sound")
  bank = sounds.from_folder(folder)
  names = [r.name for r in bank.recordings if r.label == "Fire"]
  assert names[-2:] == ["x.flac", "y.ogg"]
  assert len(names) == 6


def test_folder_missing(tmp_path):
  with pytest.raises(sounds.SoundsError, match="nowhere: is not a folder"):
    sounds.from_folder(tmp_path / "nowhere")


def test_folder_without_classes(tmp_path):
  with pytest.raises(sounds.SoundsError, match="has 0 class folders, needs"):
    sounds.from_folder(tmp_path)


def test_folder_with_too_few_recordings(tmp_path):
  folder = made_up_sounds.write_folder(tmp_path / "sounds", clips=3)
  (folder / "Fire" / "clip1.wav").unlink()
  message = re.escape(f"{folder / 'Fire'}: has 2 sounds, and a class needs")
  with pytest.raises(sounds.SoundsError, match=message):
    sounds.from_folder(folder)


def test_folder_with_a_corrupt_wav(tmp_path):
  folder = made_up_sounds.write_folder(tmp_path / "sounds")
  path = folder / "Fire" / "clip2.wav"
  path.write_bytes(path.read_bytes()[:1000])
  with pytest.raises(AudioError, match=re.escape(str(path))):
    sounds.from_folder(folder)


def test_folder_with_a_silent_clip(tmp_path):
  folder = made_up_sounds.write_folder(tmp_path / "sounds")
  soundfile.write(folder / "Fire" / "clip2.wav", np.zeros(800), 16000)
  with pytest.raises(sounds.SoundsError, match=r"clip2\.wav: is silent"):
    sounds.from_folder(folder)


def test_folder_with_one_sound_twice(tmp_path):
  folder = made_up_sounds.write_folder(tmp_path / "sounds")
  data = (folder / "Fire" / "clip2.wav").read_bytes()
  (folder / "Whistle" / "copy.wav").write_bytes(data)
  with pytest.raises(sounds.SoundsError, match=r"copy\.wav: is the same sound"):
    sounds.from_folder(folder)
