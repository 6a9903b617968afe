"""The report of a run: its tables say what was measured."""

import json

import made_up_scenes
import pytest
from matplotlib import image

from configs import base
from ltu_jax import config as config_lib
from ltu_jax import losses
from ltu_jax.data.prepare import PrepareError
from ltu_jax.evaluate import held_out, report, samples
from ltu_jax.metrics import Metrics


def answer(questions, with_audio):
  """Right about fires and nothing else."""
  right = lambda q: with_audio and "Fire" in q.output and "Bell" not in q.output
  return [q.output if right(q) else "Labels: Dog" for q in questions]


@pytest.fixture
def source():
  return made_up_scenes.source(made_up_scenes.scenes())


@pytest.fixture
def config():
  return base.get_config()


@pytest.fixture
def written(tmp_path, source, config, capsys):
  """The folder of a made-up run of stages 1 and 2 with its report."""
  with Metrics(tmp_path) as metrics:
    for stage in (1, 2):
      for step in range(1, 41):
        metrics.write(stage, step, {"loss": 4 / step / stage, "lr": 0.1 / step})
  settings = held_out.Settings(100, 8, 8)
  report.write(
    tmp_path,
    config,
    losses.read(tmp_path / "metrics.jsonl", config_lib.stages(config)),
    held_out.evaluate_answers(answer, source, settings),
    samples.ask(answer, source, 4),
    "Split somehow.",
  )
  return tmp_path, capsys.readouterr().out


def rows(text):
  """Cells of the tables by their first one."""
  lines = [line for line in text.splitlines() if line.startswith("|")]
  cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
  return {first: rest for first, *rest in cells}


def test_tables(written):
  folder, printed = written
  text = (folder / "report.md").read_text()
  table = rows(text)
  # Mean of 1/37 to 1/40, times 4: 0.1039.
  assert table["1 classification, projection only"] == [
    "40",
    "4.000",
    "0.100",
    "0.104",
  ]
  assert table["2 classification"][:2] == ["40", "2.000"]
  assert table["3 all closed-ended"] == ["0", "-", "-", "-"]
  # Six of twelve; Wilson's interval of a half: 0.254 to 0.746.
  assert table["which sound (one in the clip)"] == [
    "0.500",
    "12",
    "0.25-0.75",
    "0.333",
    "0.000 (0.00-0.24)",
  ]
  assert table["all sounds in their order"][:2] == ["0.000", "8"]
  assert "order, where the sounds are right" not in table
  assert "Split somehow." in text
  assert "always naming the most frequent class gives 0.500" in " ".join(
    text.split()
  )
  assert "12 clips with one sound are made of 4 recordings" in text
  assert "bell 0/4; dog, barking 0/2; fire 6/6." in text
  # What is printed is the file without the picture.
  assert text.split("\n![")[0].strip() in printed


def test_every_sample_is_shown(written):
  text = (written[0] / "report.md").read_text()
  numbers = json.loads((written[0] / "report.json").read_text())
  assert len(numbers["samples"]) == 4
  for sample in numbers["samples"]:
    for key in ("clip", "question", "answer", "truth"):
      assert sample[key] in text


def test_json_has_all_numbers(written, config):
  numbers = json.loads((written[0] / "report.json").read_text())
  assert numbers["held_out"]["labels"]["hits"] == 6
  assert numbers["held_out"]["order_given_labels"]["accuracy"] is None
  assert [s["steps"] for s in numbers["stages"]] == [40, 40, 0, 0]
  assert numbers["config"] == json.loads(config.to_json())
  assert set(numbers["versions"]) >= {"python", "ltu_jax", "jax", "flax"}


def test_picture(written):
  assert image.imread(written[0] / "curves.png").std() > 0.05
  assert (
    "![Loss and learning rate](curves.png)"
    in (written[0] / "report.md").read_text()
  )


def test_without_metrics_there_is_no_picture(tmp_path, source, config):
  settings = held_out.Settings(100, 8, 8)
  report.write(
    tmp_path,
    config,
    losses.read(tmp_path / "metrics.jsonl", config_lib.stages(config)),
    held_out.evaluate_answers(answer, source, settings),
    [],
    "",
  )
  assert "No curves" in (tmp_path / "report.md").read_text()
  assert not (tmp_path / "curves.png").exists()


def test_without_a_test_split_there_are_losses(tmp_path, config, capsys):
  with Metrics(tmp_path) as metrics:
    for step in range(1, 41):
      metrics.write(1, step, {"loss": 4 / step, "lr": 0.1 / step})
  # No model is needed, as none is asked.
  report.final(tmp_path, config, None, None, None)
  text = (tmp_path / "report.md").read_text()
  assert rows(text)["1 classification, projection only"][:2] == ["40", "4.000"]
  assert text.count("has no test split") == 1
  assert "which sound" not in text and "0 held-out clips" not in text
  assert text.split("\n![")[0].strip() in capsys.readouterr().out
  assert image.imread(tmp_path / "curves.png").std() > 0.05
  numbers = json.loads((tmp_path / "report.json").read_text())
  assert numbers["held_out"] is None and numbers["samples"] == []
  assert "no test split" in numbers["split"]
  assert [s["steps"] for s in numbers["stages"]] == [40, 0, 0, 0]


def test_nothing_is_done_without_items(tmp_path, config):
  config.eval.final_items = 0
  # No model is needed, as none is asked.
  report.final(tmp_path, config, None, None, None)
  assert not list(tmp_path.iterdir())


def test_split_is_checked(source):
  train = {("Fire", "a"), ("Bell", "b")}
  heard = {
    ("Fire", "fire 0"),
    ("Fire", "fire 1"),
    ("Fire", "Fire 1"),
    ("Bell", "Bell 1"),
    ("Dog, barking", "Dog, barking 1"),
  }
  assert report.split_statement(source, {"train": train, "test": heard}) == (
    "No test recording is in training: the clips are split by recording, 2 to"
    " learn from and 5 others to test on."
  )
  with pytest.raises(
    PrepareError, match=r"fire 1.* is in training and in test"
  ):
    report.split_statement(
      source, {"train": train | {("Fire", "fire 1")}, "test": heard}
    )
  assert "does not tell" in report.split_statement(source, {})
