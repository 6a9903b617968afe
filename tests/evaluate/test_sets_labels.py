"""Labels of the sets: as many as the owners say, found however written."""

import pytest

from ltu_jax.evaluate.sets import label_list

# As the owners' descriptions say.
COUNTS = {
  "esc50": 50,
  "dcase2017": 17,
  "vocalsound": 6,
  "tut2017": 15,
  "beijing_opera": 4,
  "vggsound": 309,
  "fsd50k": 200,
  "audioset": 527,
}


@pytest.mark.parametrize("name", COUNTS)
def test_every_label_is_found_by_itself_and_by_its_name(name):
  labels = label_list.read(name)
  assert len(labels.labels) == len(labels.names) == COUNTS[name]
  assert [labels.by_text(x) for x in labels.labels] == list(labels.labels)
  assert [labels.by_name(x) for x in labels.names] == list(labels.labels)
  assert labels.source.partition("https://")[2]


@pytest.mark.parametrize("name", COUNTS)
def test_labels_are_texts_to_be_read(name):
  for label in label_list.read(name).labels:
    assert label == " ".join(label.split())
    assert not set(label) & set('_"\xad;:')


def test_esc50_numbers_its_classes_in_the_names_of_its_files():
  # 1-100032-A-0.wav is a dog, 1-17092-A-27.wav brushing teeth.
  labels = label_list.read("esc50").labels
  assert labels[0] == "dog"
  assert labels[27] == "brushing teeth"


def test_audioset_numbers_its_classes():
  # Lines of the owners' class_labels_indices.csv.
  labels = label_list.read("audioset")
  assert labels.labels[0] == labels.by_name("/m/09x0r") == "Speech"
  assert labels.labels[137] == labels.by_name("/m/04rlf") == "Music"
  assert labels.labels[526] == labels.by_name("/m/07hvw1") == "Field recording"


def test_fsd50k_has_classes_of_audioset():
  # FSD50K's paper: classes of AudioSet's ontology. The nine without a match are
  # classes that its 527 do not have, or have under another name.
  audioset = {label.lower() for label in label_list.read("audioset").labels}
  same = [
    label
    for label in label_list.read("fsd50k").labels
    if {label.lower(), label.lower().replace(" and ", ", ")} & audioset
  ]
  assert len(same) == 191


@pytest.mark.parametrize(
  ("name", "text", "label"),
  [
    ("esc50", "sea_waves", "sea waves"),
    ("dcase2017", "Air horn, truck horn", "Air horn truck horn"),
    ("tut2017", "city_center", "city center"),
    ("beijing_opera", "Clapper\xad-drum,", "Clapper-drum"),
    # The published list has an underscore where the owners have a comma.
    ("vggsound", "Bird chirping,  tweeting", "bird chirping, tweeting"),
    ("fsd50k", " Human_voice", "Human voice"),
  ],
)
def test_ways_to_write_a_label(name, text, label):
  assert label_list.read(name).by_text(text) == label


def test_what_is_no_label():
  labels = label_list.read("esc50")
  for text in ("", "dogs", "Labels: dog"):
    with pytest.raises(ValueError, match="unknown label"):
      labels.by_text(text)
  with pytest.raises(ValueError, match="unknown class 'sea waves'"):
    labels.by_name("sea waves")  # The owners have an underscore.
