"""All sets of a folder: those that are there, and which are not."""

import subprocess
import sys

import pytest

import made_up_sets
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets import spec
from ltu_jax.evaluate.sets.catalog import SETS, find_all
from ltu_jax.evaluate.sets.spec import Found


def test_the_paper_s_table():
  """Averages that the paper gives: 50.3 and 48.9 over eight sets."""
  classes = [s for s in SETS.values() if s.kind == spec.CLASSIFICATION]
  assert len(classes) == 8
  for model, mean in (("LTU-7B", 50.3), ("LTU-13B", 48.9)):
    values = [set_.published[model] for set_ in classes]
    # Both are rounded to a tenth; the mean of eight roundings moves by as much.
    assert sum(values) / 8 == pytest.approx(mean, abs=0.1)


def test_every_set_can_be_made_up():
  assert list(SETS) == made_up_sets.names()
  for name, set_ in SETS.items():
    assert set_.name == name == set_.folders[0]
    assert set_.layout
    assert set_.metric


@pytest.mark.parametrize("name", SETS)
def test_each_folder_name(name, tmp_path):
  for folder in SETS[name].folders:
    data = tmp_path / folder
    made_up_sets.make(data, name).rename(data / folder)
    assert isinstance(find_all(data, [name])[name], Found)


def test_all_takes_what_is_there(tmp_path):
  made_up_sets.make(tmp_path, "clotho")
  made_up_sets.make(tmp_path, "esc50", made_up_sets.PUBLISHED)
  (tmp_path / "vggsound").mkdir()
  found = find_all(tmp_path, ["all"])
  assert list(found) == list(SETS)
  there = [name for name, each in found.items() if isinstance(each, Found)]
  assert there == ["esc50", "clotho"]
  assert "no VGGSound here: there is no vggsound.csv" in found["vggsound"]
  assert "Expected in" in found["vggsound"]


def test_named_sets_in_the_order_of_their_names(tmp_path):
  for name in ("esc50", "clotho"):
    made_up_sets.make(tmp_path, name)
  assert list(find_all(tmp_path, ["clotho", "esc50"])) == ["clotho", "esc50"]


def test_a_published_file_without_its_audio(tmp_path):
  rows = [made_up_sets.published_row("a", "Labels: dog")]
  made_up_sets.write_json(tmp_path / "esc50.json", rows)
  made_up_sets.make(tmp_path, "clotho")
  assert "no sound of ESC-50 here" in find_all(tmp_path, ["all"])["esc50"]
  with pytest.raises(EvaluateError, match=r"esc50: no sound .*Expected in"):
    find_all(tmp_path, ["esc50"])


def test_open_ended_questions_with_the_audio_of_audioset(tmp_path):
  made_up_sets.make(tmp_path, "open_gpt3").rename(tmp_path / "audioset")
  found = find_all(tmp_path, ["open_gpt3"])["open_gpt3"]
  assert found.items[0].path.is_relative_to(tmp_path / "audioset")


def test_what_cannot_be_found(tmp_path):
  with pytest.raises(EvaluateError, match="unknown set 'esc'; known ones are"):
    find_all(tmp_path, ["esc"])
  with pytest.raises(EvaluateError, match=r"esc50: no ESC-50 here.*meta/esc50"):
    find_all(tmp_path, ["esc50"])
  with pytest.raises(EvaluateError, match="no evaluation set is there"):
    find_all(tmp_path, ["all"])
  with pytest.raises(EvaluateError, match="no such folder"):
    find_all(tmp_path / "none", ["all"])


def test_a_damaged_set_is_told_with_all_too(tmp_path):
  made_up_sets.make(tmp_path, "clotho")
  made_up_sets.write(tmp_path / "esc50" / "meta" / "esc50.csv", "filename\n")
  with pytest.raises(EvaluateError, match="line 1: no column category"):
    find_all(tmp_path, ["all"])


def test_reading_sets_needs_no_jax():
  code = (
    "import sys, ltu_jax.evaluate.sets.catalog, ltu_jax.evaluate.choices;"
    "sys.exit('jax' in sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
