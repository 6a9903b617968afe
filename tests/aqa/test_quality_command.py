"""The commands on the command line."""

import argparse
import json

import pytest

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality import command
from made_up_answers import qa, write


def run(*argv):
  parser = argparse.ArgumentParser()
  command.add_parsers(parser.add_subparsers(dest="command", required=True))
  return command.run(parser.parse_args([*map(str, argv)]))


@pytest.fixture
def file(tmp_path):
  rows = [
    qa("How large is the dog?"),
    qa("Why is the dog so large?", "That is unclear."),
    qa("When does it bark?", "[0.0s-1.2s]", task="temporal_single"),
    qa("Whose big dog is it?", "The Prompt says: a man's."),
  ]
  return write(tmp_path / "in.json", rows)


def test_check_counts_and_drops(file, tmp_path, capsys):
  out, own = tmp_path / "out.json", tmp_path / "own.txt"
  own.write_text("[leak]\nthe prompt\n")
  assert run("check", file) == 0
  assert "4 kept, 0 dropped" in capsys.readouterr().out
  more = (f"--out={out}", f"--phrases={own}", "--answer_words=1,50")
  assert run("check", file, "--drop=unanswerable,leak", *more) == 0
  said = capsys.readouterr()
  assert "2 kept, 2 dropped" in said.out and "out.report.json" in said.err
  kept = [row["instruction"] for row in json.loads(out.read_text())]
  assert kept == ["How large is the dog?", "When does it bark?"]
  with pytest.raises(AqaError, match="no gate 'x'"):
    run("check", file, "--drop=x")


def test_stats_and_browse_write_pages(file, tmp_path, capsys):
  assert run("stats", file, f"--out={tmp_path / 's'}") == 0
  assert (tmp_path / "s" / "index.html").exists()
  page = tmp_path / "p.html"
  assert run("browse", file, f"--out={page}", "--task=temporal_single") == 0
  assert "1 clip with 1 question," in page.read_text(encoding="utf-8")
  assert "p.html" in capsys.readouterr().err


@pytest.mark.parametrize(
  "wrong",
  [
    "--answer_words=3",
    "--answer_words=5,3",
    "--near=0",
    "--near=1.1",
    "--seed=-1",
    "--most=0",
  ],
)
def test_wrong_values_are_told(file, wrong, capsys):
  with pytest.raises(SystemExit):
    run("check", file, wrong)
  assert wrong.split("=")[0] in capsys.readouterr().err
