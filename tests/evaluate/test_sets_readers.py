"""Every set in every form it is distributed in, made up: what is read of it."""

import pytest

import made_up_sets
from ltu_jax.evaluate.sets import spec
from ltu_jax.evaluate.sets.catalog import SETS

FORMS = [
  (name, form)
  for name in made_up_sets.names()
  for form in made_up_sets.forms(name)
]

OWNERS = [name for name, form in FORMS if form == made_up_sets.OWNERS]
PUBLISHED = [name for name, form in FORMS if form == made_up_sets.PUBLISHED]


def read(tmp_path, name, form=None):
  return SETS[name].find(made_up_sets.make(tmp_path, name, form))


def truths(found):
  return [item.truth for item in found.items]


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_what_all_have_in_common(name, form, tmp_path):
  found = read(tmp_path, name, form)
  set_ = SETS[name]
  assert found.total == len(found.items) > 0
  assert found.missing == ()
  assert len({item.id for item in found.items}) == found.total
  assert all(path.is_file() for path in found.source)
  assert bool(found.labels) == (set_.kind == spec.CLASSIFICATION)
  for item in found.items:
    assert item.path.is_file()
    assert item.audio == item.path.name
    assert item.truth
    assert item.question
    if set_.kind == spec.CLASSIFICATION:
      assert set(item.truth) <= set(found.labels)
    if set_.question:
      assert item.question == set_.question
    if set_.kind == spec.CHOICE:
      assert item.truth[0] in item.choices


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_missing_sound_is_counted(name, form, tmp_path):
  folder = made_up_sets.make(tmp_path, name, form)
  before = SETS[name].find(folder)
  gone = before.items[-1].path
  gone.unlink()
  after = SETS[name].find(folder)
  if name == "beijing_opera" and form == made_up_sets.OWNERS:
    assert after.total == before.total - 1  # There is no list of its files.
    return
  missing = tuple(item.id for item in before.items if item.path == gone)
  assert after.missing == missing
  assert after.total == before.total
  assert [i for i in before.items if i.path != gone] == list(after.items)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_file_may_be_in_the_set_s_folder(name, tmp_path):
  folder = made_up_sets.make(tmp_path, name, made_up_sets.PUBLISHED)
  above = SETS[name].find(folder)
  [path] = above.source
  path.rename(folder / path.name)
  inside = SETS[name].find(folder)
  assert inside.items == above.items
  assert inside.source == (folder / path.name,)


@pytest.mark.parametrize("name", OWNERS)
def test_an_archive_s_own_folder_may_be_in_between(name, tmp_path):
  folder = made_up_sets.make(tmp_path / "archive", name)
  assert SETS[name].find(folder).total == SETS[name].find(folder.parent).total


def test_labels_of_the_owners_become_those_that_are_asked(tmp_path):
  expected = {
    "esc50": [("dog",), ("brushing teeth",), ("dog",)],
    "dcase2017": [("Train horn",), ("Car",), ("Air horn truck horn",)],
    "vocalsound": [("Laughter",), ("Throat clearing",)],
    "tut2017": [("cafe/restaurant",), ("city center",)],
    "beijing_opera": [
      ("Clapper-drum",),
      ("Large gong",),
      ("Cymbals",),
      ("small gong",),
    ],
    "vggsound": [
      ("people coughing",),
      ("bee, wasp, etc. buzzing",),
      ("dog barking",),
    ],
    "fsd50k": [
      ("Electric guitar", "Guitar", "Music"),
      ("Human voice", "Speech"),
    ],
    "audioset": [
      ("Male speech, man speaking", "Radio"),
      ("Bell", "Church bell"),
    ],
  }
  for name, labels in expected.items():
    assert truths(read(tmp_path, name)) == labels, name


def test_the_published_file_decides(tmp_path):
  folder = made_up_sets.make(tmp_path, "esc50")
  row = made_up_sets.published_row("5-9032-A-0", "Labels: rooster")
  made_up_sets.write_json(tmp_path / "esc50.json", [row])
  [item] = SETS["esc50"].find(folder).items
  assert item.truth == ("rooster",)
  assert item.audio == "5-9032-A-0.wav"


def test_a_row_of_dcase_for_each_label_of_a_clip(tmp_path):
  for form in made_up_sets.forms("dcase2017"):
    items = read(tmp_path / form, "dcase2017", form).items
    assert items[1].path == items[2].path
    assert items[2].id == f"{items[1].id}#2"


def test_dcase_without_the_evaluation_set(tmp_path):
  folder = made_up_sets.make(tmp_path, "dcase2017")
  [path] = SETS["dcase2017"].find(folder).source
  path.rename(folder / "groundtruth_weak_label_testing_set.csv")
  assert SETS["dcase2017"].find(folder).total == 3


@pytest.mark.parametrize("name", ["audiocaps", "clotho"])
def test_captions_of_a_clip_are_together(name, tmp_path):
  for form in made_up_sets.forms(name):
    found = read(tmp_path / form, name, form)
    assert found.total == 2
    for said in truths(found):
      assert len(said) == 5
      assert said[0].rstrip(".") == "A dog barks twice"
      assert said[4].rstrip(".") == "A dog is barking while wind blows"


def test_vocalsound_at_both_rates(tmp_path):
  folder = made_up_sets.make(tmp_path, "vocalsound")
  made_up_sets.sound(folder / "audio_44k" / "f0003_0_laughter.wav")
  found = SETS["vocalsound"].find(folder)
  assert {item.path.parent.name for item in found.items} == {"audio_16k"}


def test_vggsound_asks_only_about_its_test_split(tmp_path):
  ids = [item.id for item in read(tmp_path, "vggsound").items]
  assert ids == [
    "--U7joUcTCo_000000",
    "-0DLPzsiXXE_000030",
    "-0DLPzsiXXE_000090",
  ]


def test_open_ended_rows_have_their_own_questions(tmp_path):
  first, second, third = read(tmp_path, "open_gpt4").items
  assert [first.id, second.id, third.id] == ["1", "2", "3"]
  assert first.path == second.path
  assert first.question == "What do the people do?"
  assert first.truth == ("They greet.",)


def test_mmau_names_each_choice_once_and_without_a_letter(tmp_path):
  first, second = read(tmp_path, "mmau").items
  assert first.choices == ("Man", "Woman", "Child", "Robot")
  assert first.question.splitlines()[0] == "Who is speaking?"
  assert first.question.splitlines()[2:] == list(first.choices)
  assert second.question.splitlines()[2:] == ["one", "three", "zero"]
  assert [first.group, second.group] == ["sound", "speech"]


def test_air_bench_is_about_sounds(tmp_path):
  grounding, avqa, clotho = read(tmp_path, "air_bench").items
  assert grounding.audio == "Y_GI7meqlYZk.flac"  # The list says .wav.
  assert avqa.path.parent.name == "Sound_AQA_avqa"
  assert [grounding.group, avqa.group] == ["Audio_Grounding", "Sound_AQA"]
  lines = avqa.question.splitlines()
  assert lines[1:] == [
    "What is it?",
    *("A. 1 seconds", "B. 2 seconds", "C. 3 seconds", "D. 4 seconds"),
  ]
  assert clotho.question.splitlines()[2:] == ["A. yes", "B. no"]


def test_air_bench_takes_no_file_of_another_task(tmp_path):
  folder = made_up_sets.make(tmp_path, "air_bench")
  (folder / "Foundation" / "Sound_AQA_avqa" / "3049.flac").unlink()
  # Music_AQA_music_avqa/3049.flac is still there.
  assert SETS["air_bench"].find(folder).missing == ("Sound_AQA_avqa/1",)
