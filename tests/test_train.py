"""The whole experiment at the smallest size, on generated sounds."""

import json

import jax
import numpy as np
import pytest
from absl.testing import flagsaver
from flax import nnx

import made_up_openaqa
from ltu_jax import main, metrics, supply, train
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config import ConfigError
from ltu_jax.curriculum import Stage
from ltu_jax.data import prepare
from ltu_jax.data.question_index import QuestionIndex
from ltu_jax.data.question_source import QuestionSource
from ltu_jax.evaluate import result
from ltu_jax.trained import load_trained
from tiny_run import tiny


def weights(workdir) -> dict[str, np.ndarray]:
  model = load_trained(workdir).model
  return {
    jax.tree_util.keystr(path): np.asarray(x)
    for path, x in jax.tree_util.tree_leaves_with_path(nnx.state(model))
  }


@pytest.fixture(scope="module")
def compiled():
  """The names of the programs that the run `whole` compiled."""
  return []


@pytest.fixture(scope="module")
def whole(sounds, tmp_path_factory, compiled):
  """A run that nobody disturbed."""
  workdir = tmp_path_factory.mktemp("whole")
  config = tiny(sounds)
  config.eval.update(stage_items=4, final_items=4)
  config.eval.update(sets="mini", sets_every=2, sets_items=4)
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **about: (
      event.endswith("/backend_compile_duration")
      and compiled.append(about["fun_name"])
    )
  )
  train.run(config, str(workdir))
  jax.monitoring.clear_event_listeners()
  return workdir


def test_a_run_leaves_everything(whole):
  lines = [json.loads(x) for x in (whole / "metrics.jsonl").open()]
  assert [(x["stage"], x["step"]) for x in lines] == [
    (stage, step) for stage in range(3) for step in (1, 2, 3)
  ]
  assert all(x["loss"] > 0 and x["grad_norm"] > 0 for x in lines)
  assert lines[0]["lr"] == 0 and lines[1]["lr"] == pytest.approx(1e-2)
  for name in ("report.json", "report.md", "curves.png", "tokenizer.model"):
    assert (whole / name).stat().st_size > 100
  for stage in range(3):
    assert (whole / f"checkpoints/stage{stage}/3").is_dir()


def test_sets_are_evaluated_at_steps_and_at_the_ends_of_stages(whole):
  made = sorted(path.name for path in (whole / "evaluation").iterdir())
  # Every second step of three, and the last.
  assert made == [
    f"stage{stage}-step{step:06d}" for stage in range(3) for step in (2, 3)
  ]
  for name in made:
    found = result.read(whole / "evaluation" / name / "mini.json")
    assert found.data["items"] == 4
    assert found.model["name"] == found.model["weights"] == name
    protocols = [metric.protocol for metric in found.metrics]
    assert protocols == ["exact", "constrained", "constrained, a token"]
  events = b"".join(
    path.read_bytes() for path in (whole / "tensorboard/stage1").iterdir()
  )
  assert events.count(b"eval/mini/accuracy_constrained_a_token") == 2


def test_the_step_is_compiled_once_a_stage(whole, compiled):
  assert compiled.count("jit(step)") == 3  # stages, of three steps each


def test_a_data_set_may_have_no_test_split(
  sounds, tmp_path, monkeypatch, capsys
):
  config = tiny(sounds)
  config.stages = {"stage1": config.stages.stage1.to_dict()}
  config.eval.update(stage_items=4, final_items=4)
  both = prepare.open_splits
  monkeypatch.setattr(
    prepare, "open_splits", lambda data: (both(data)[0], None)
  )
  train.run(config, str(tmp_path))
  assert "held out:" not in capsys.readouterr().out
  report = json.loads((tmp_path / "report.json").read_text())
  assert report["stages"][0]["steps"] == 3 and report["held_out"] is None
  assert (tmp_path / "report.md").read_text().count("has no test split") == 1
  assert (tmp_path / "curves.png").stat().st_size > 100


def test_stages_train_only_their_part(whole, sounds):
  """Stage 1 changes the projection alone: its checkpoint holds nothing else."""
  from ltu_jax.checkpoint import Checkpoints

  with Checkpoints(whole / "checkpoints/stage1", read_only=True) as saved:
    assert saved.metadata()["stage"] == 1
    shapes = {"projector": {"w": jax.ShapeDtypeStruct((16, 16), np.float32)}}
    assert saved.load_trainable(shapes)["projector"]["w"].shape == (16, 16)
    other = {"encoder": {"norm": {"scale": jax.ShapeDtypeStruct((16,), "f4")}}}
    with pytest.raises(CheckpointError, match="encoder"):
      saved.load_trainable(other)


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_bits(
  whole, sounds, tmp_path, monkeypatch, capsys
):
  write = metrics.Metrics.write

  def dies(self, stage, step, values):
    if (stage, step) == (2, 2):
      raise KeyboardInterrupt
    write(self, stage, step, values)

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(metrics.Metrics, "write", dies)
    train.run(tiny(sounds), str(tmp_path))
  train.run(tiny(sounds), str(tmp_path))
  out = capsys.readouterr().out
  assert "stage 1: finished before" in out
  assert "stage 2: going on at step" in out
  got, want = weights(tmp_path), weights(whole)
  assert got.keys() == want.keys()
  for name in want:
    np.testing.assert_array_equal(got[name], want[name], err_msg=name)
  read = lambda w: [
    (x["stage"], x["step"], x["loss"])
    for x in map(json.loads, (w / "metrics.jsonl").open())
  ]
  assert read(tmp_path) == read(whole)


def test_finished_run_is_only_reported_again(whole, sounds, capsys):
  before = (whole / "metrics.jsonl").read_bytes()
  train.run(tiny(sounds), str(whole))
  assert "stage 2: finished before" in capsys.readouterr().out
  assert (whole / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_eight_devices_give_the_numbers_of_one(
  whole, sounds, tmp_path, monkeypatch
):
  config = tiny(sounds)
  config.stages = {"stage2": config.stages.stage2.to_dict()}
  config.mesh = {"data": 2, "fsdp": 2, "tensor": 2}
  train.run(config, str(tmp_path / "eight"))
  one = jax.devices()[:1]
  monkeypatch.setattr(jax, "device_count", lambda: 1)
  monkeypatch.setattr(train, "make_mesh", lambda shape: _mesh(one))
  config.mesh = {"data": 1, "fsdp": 1, "tensor": 1}
  train.run(config, str(tmp_path / "one"))
  losses = [
    [json.loads(x)["loss"] for x in (tmp_path / w / "metrics.jsonl").open()]
    for w in ("eight", "one")
  ]
  # float32, summed in another order over the devices; losses near 6.
  np.testing.assert_allclose(*losses, rtol=1e-5)


def _mesh(devices):
  from ltu_jax.sharding import make_mesh

  return make_mesh({}, devices)


def test_another_config_on_the_same_workdir_is_refused(whole, sounds):
  config = tiny(sounds)
  config.stages.stage2.peak_lr = 0.5
  with pytest.raises(ConfigError, match=r"stage2\.peak_lr: 0\.01 -> 0\.5"):
    train.run(config, str(whole))


@pytest.mark.parametrize(
  "change, words",
  [
    ({"data.batch_size": 6}, "6 rows cannot be cut over the 8"),
    ({"data.micro_batches": 3}, "no multiple"),
    ({"log_every": 0}, "log_every is 0"),
    ({"data.source": "x"}, "source is 'x'; .*tfds, synthetic"),
    ({"model.llama.heads": 3}, "model.llama.*kv_heads"),
    ({"stages.stage1.warmup_steps": 9}, "stage1.warmup_steps"),
    ({"stages.stage1.trainable": ("^projektor/",)}, "projekt"),
    ({"stages.stage1.tasks": ("singing",)}, "1.tasks:.*singing"),
    ({"stages.stage2.datasets": ("vgg",)}, "2.datasets:.*'vgg'"),
    ({"data.max_tokens": 30}, "config.data.max_tokens is 30: .* would fit"),
    ({"tokenizer.model": "none.model"}, "none.model"),
    ({"base": "nowhere"}, "nowhere"),
  ],
)
def test_bad_config_is_one_clear_error(sounds, tmp_path, change, words):
  config = tiny(sounds)
  config.unlock()
  config.update_from_flattened_dict(change)
  with pytest.raises(ConfigError, match=words):
    train.run(config, str(tmp_path / "run"))
  # The same folder takes the mended config, with another tokenizer, too.
  for name in ("config.json", "tokenizer.model", "pretrained", "base"):
    assert not (tmp_path / "run" / name).is_symlink()
    assert not (tmp_path / "run" / name).exists()


def test_a_tokenizer_that_is_none_is_one_error(sounds, tmp_path):
  model = tmp_path / "no.model"
  model.write_text("x")
  config = tiny(sounds)
  config.tokenizer.model = str(model)
  with pytest.raises(
    train.USER_ERRORS, match=r"no\.model: not a SentencePiece"
  ):
    train.run(config, str(tmp_path / "run"))
  assert not (tmp_path / "run/config.json").exists()


KINDS = (("caption", "vgg"), ("caption", "audiocaps"), ("cla_label", "vgg"))


@pytest.mark.parametrize(
  "fields, clips",
  [
    ({}, [0, 1, 2]),
    ({"tasks": ("caption",)}, [0, 1]),
    ({"datasets": ("vgg",)}, [0, 2]),
    ({"tasks": ("caption",), "datasets": ("vgg",)}, [0]),
  ],
)
def test_a_stage_takes_questions_by_task_and_data_set(fields, clips):
  index = QuestionIndex.make([[kind] for kind in KINDS])
  source = QuestionSource([None] * 3, index)
  part = supply.questions(source, Stage(2, "", **fields))
  assert part.index.clip.tolist() == clips


def test_a_stage_that_leaves_no_question_names_both():
  index = QuestionIndex.make([[kind] for kind in KINDS])
  stage = Stage(2, "", tasks=("cla_label",), datasets=("audiocaps",))
  words = r"stage2\.datasets: no question is left of .*cla_label.*audiocaps"
  with pytest.raises(ConfigError, match=words):
    supply.questions(QuestionSource([None] * 3, index), stage)


def test_a_stage_names_both_fields_that_ask_in_vain():
  index = QuestionIndex.make([[kind] for kind in KINDS])
  stage = Stage(2, "", tasks=("singing",), datasets=("radio",))
  with pytest.raises(ConfigError) as told:
    supply.questions(QuestionSource([None] * 3, index), stage)
  first, second = str(told.value).splitlines()
  assert "stage2.tasks" in first and "'singing'" in first
  assert "stage2.datasets" in second and "'radio'" in second


def test_ask_says_how_to_train(tmp_path):
  with pytest.raises(CheckpointError, match=r"no run.*ltu_jax\.main"):
    load_trained(tmp_path)


def test_main_ends_user_errors_with_status_two(whole, sounds, capsys):
  config = tiny(sounds, log_every=0)
  with (
    flagsaver.flagsaver((main._WORKDIR, str(whole))),
    pytest.raises(SystemExit) as exit_info,
  ):
    main.train_run(config, str(whole))
  assert exit_info.value.code == 2
  assert capsys.readouterr().err.startswith("error: config.log_every is 0")


def test_trains_on_the_full_data_set_stage_by_stage(tmp_path):
  changed = made_up_openaqa.CHANGED_AUDIO
  made_up_openaqa.write(tmp_path / "in", num_good=24, changed=changed)
  made_up_openaqa.build(tmp_path / "in", tmp_path / "data")
  config = tiny(tmp_path)
  config.data.update(
    name="openaqa/full", sounds_dir="", num_train=0, num_test=0
  )
  config.stages.stage2.datasets = ("source_1",)
  train.run(config, str(tmp_path / "run"))
  lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").open()]
  assert len(lines) == 9
  assert all(np.isfinite(x["loss"]) and "skipped" not in x for x in lines)
  kept = json.loads((tmp_path / "run/config.json").read_text())
  assert kept["stages"]["stage2"]["datasets"] == ["source_1"]
