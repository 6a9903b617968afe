"""A made-up OpenAQA that several files build from."""

import pytest

import made_up_openaqa as made_up


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A manual_dir with 20 good clips and one for each rule."""
  path = tmp_path_factory.mktemp("manual")
  made_up.write(path, bad=made_up.BAD_AUDIO, changed=made_up.CHANGED_AUDIO)
  return path


@pytest.fixture(scope="module")
def built(tmp_path_factory, folder):
  """Built from it in this process."""
  return made_up.build(folder, tmp_path_factory.mktemp("out"))
