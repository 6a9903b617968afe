"""The command line: mistakes are one clear line, answers are the model's.

The model has random weights and lies in a run's folder, as training leaves it.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import nnx

import golden_data
from configs import base as base_config
from ltu_jax import ask, base, generate, sampling
from ltu_jax import config as config_lib
from ltu_jax.ask.clips import read_clip
from ltu_jax.checkpoint import Checkpoints
from ltu_jax.convert import from_run
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.data.prompts import build_prompt
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.models.ltu import PART_TYPES
from ltu_jax.train_state import overlay, split_params
from ltu_jax.workdir import Workdir
from random_model import random_model

QUESTION = "What can be heard?"


def tiny_config():
  """The published config with the golden model's sizes."""
  config = base_config.get_config()
  cfg = golden_data.config("forward_a")
  for name in config.model:
    config.model[name] = config_lib.fields(getattr(cfg, name))
  return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A run that has finished stages 1 and 2, by the saving code of training."""
  config = tiny_config()
  folder = Workdir(tmp_path_factory.mktemp("run"))
  folder.record_config(config)
  SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model").save(
    folder.root
  )
  states = [nnx.state(random_model(model_config(), seed)) for seed in range(3)]
  cfg = model_config()
  parts = {name: getattr(cfg, name) for name in PART_TYPES}
  base.save(folder.base, states[0], parts, ["random"])
  stages = config_lib.stages(config)
  for stage, other in zip(stages, states[1:], strict=False):
    part, _ = split_params(other, stage.trainable)
    state = {
      "trainable": nnx.to_pure_dict(part),
      "opt": {},
      "step": jnp.int32(7),
      "rng": jax.random.key(0),
    }
    with Checkpoints(folder.checkpoints(stage)) as saved:
      saved.save(7, state, None)
  return folder.root


def model_config():
  tokenizer = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")
  return config_lib.model_config(tiny_config(), tokenizer.vocab_size)


@pytest.fixture(scope="module")
def trained():
  """What the folder must amount to: base, stage 1, stage 2, laid over."""
  tokenizer = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")
  model, *others = [random_model(model_config(), seed) for seed in range(3)]
  graphdef, params = nnx.split(model)
  stages = config_lib.stages(tiny_config())
  for stage, other in zip(stages, others, strict=False):
    part, _ = split_params(nnx.state(other), stage.trainable)
    params = overlay(params, part)
  return nnx.merge(graphdef, params), tokenizer


@pytest.fixture
def run(workdir, capsys):
  """Runs a command; returns its status, standard output and error."""

  def call(*argv):
    status = ask.main([f"--workdir={workdir}", *argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err

  return call


@pytest.fixture
def mistake(capsys):
  """Runs a command that must fail with one line; returns the line."""

  def call(*argv):
    status = ask.main(["--workdir=unread", *argv])
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err.startswith("ask: ") and captured.err.count("\n") == 1
    return captured.err

  return call


def write(path, samples, rate=16000):
  soundfile.write(path, samples, rate, subtype="PCM_16")
  return str(path)


def noise(seed, seconds):
  rng = np.random.default_rng(seed)
  return rng.normal(size=int(seconds * 16000)).clip(-3, 3) / 4


def direct(trained, clip, limit=8):
  """The answer that generate gives to the same prompt."""
  model, tokenizer = trained
  pcm, num_samples = generate.batch_clips([clip])
  config = sampling.SamplingConfig(0.0, 1.0, 0, 1.0, limit)
  [ids] = generate.generate(
    model,
    [tokenizer.encode(build_prompt(QUESTION), bos=True, eos=False)],
    pcm=pcm,
    num_samples=num_samples,
    config=config,
  )
  return tokenizer.decode(ids).strip()


def test_one_clip(tmp_path, run, trained):
  path = write(tmp_path / "a.wav", noise(0, 1.0))
  status, out, err = run(path, QUESTION, "--max_new_tokens=8")
  assert (status, err) == (0, "")
  assert out == direct(trained, read_clip(path).pcm) + "\n"


def test_several_clips_and_json(tmp_path, run, trained):
  paths = [write(tmp_path / f"{i}.wav", noise(i, 1 + i)) for i in range(3)]
  limit = "--max_new_tokens=8"
  status, out, _ = run(*paths, QUESTION, limit, "--json")
  assert status == 0
  results = [json.loads(line) for line in out.splitlines()]
  assert [r["audio"] for r in results] == paths
  for path, result in zip(paths, results, strict=True):
    assert result["question"] == QUESTION
    assert result["answer"] == direct(trained, read_clip(path).pcm)
    assert result["finished"] is False
  _, out, _ = run(*paths, QUESTION, limit)
  assert out == "".join(f"{r['audio']}: {r['answer']}\n" for r in results)


@pytest.fixture(scope="module")
def bundle(workdir, tmp_path_factory):
  """What export makes of the run."""
  folder = tmp_path_factory.mktemp("export") / "bundle"
  run = from_run.open_run(workdir)
  write_bundle(
    folder, run.tensors, run.cfg, run.tokenizer, run.stage, run.training
  )
  return folder


def test_a_bundle_answers_as_the_run_that_it_was_made_from(
  tmp_path, run, bundle, capsys
):
  paths = [write(tmp_path / f"{i}.wav", noise(i, 1.0)) for i in range(2)]
  args = (*paths, QUESTION, "--max_new_tokens=8", "--json")
  wanted = run(*args)
  status = ask.main([f"--bundle={bundle}", *args])
  captured = capsys.readouterr()
  assert (status, captured.out, captured.err) == wanted
  assert status == 0 and captured.out


def test_a_bundle_and_a_run_that_are_taken_for_each_other(
  workdir, bundle, capsys
):
  for argument, other in (
    (f"--workdir={bundle}", f"--bundle={bundle}"),
    (f"--bundle={workdir}", f"--workdir={workdir}"),
  ):
    assert ask.main([argument, QUESTION]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("ask: ") and other in captured.err
  with pytest.raises(SystemExit) as error:
    ask.main([f"--workdir={workdir}", f"--bundle={bundle}", QUESTION])
  assert error.value.code == 2


def test_a_missing_bundle(tmp_path, capsys):
  assert ask.main([f"--bundle={tmp_path / 'absent'}", QUESTION]) == 2
  error = capsys.readouterr().err
  assert "there is no bundle in this folder" in error
  assert error.count("\n") == 1


def test_without_sound(run, trained):
  status, out, _ = run(QUESTION, "--max_new_tokens=8", "--json")
  assert status == 0
  result = json.loads(out)
  assert result["audio"] is None
  assert result["answer"] == direct(trained, None)


def test_seed_and_temperature(run, trained):
  def sampled(seed):
    settings = ("--temperature=2", "--top_k=0", "--top_p=1")
    settings += ("--max_new_tokens=8",)
    return run(QUESTION, f"--seed={seed}", *settings)[1]

  assert sampled(1) == sampled(1)
  assert sampled(1) != sampled(2)


def test_silence_is_answered_with_a_warning(tmp_path, run, trained):
  path = write(tmp_path / "silence.wav", np.zeros(16000))
  status, out, err = run(path, QUESTION, "--max_new_tokens=8")
  assert status == 0 and out
  assert err == f"ask: warning: {path}: this clip is digital silence.\n"


def test_a_long_clip_is_answered_with_a_warning(tmp_path, run, trained):
  path = write(tmp_path / "long.wav", noise(0, 12.0))
  status, out, err = run(path, QUESTION, "--max_new_tokens=8")
  assert status == 0 and out
  assert err.endswith(
    "only the first 10.24 s of 12.0 s are heard; --windows hears all of it.\n"
  )
  exact = write(tmp_path / "exact.wav", noise(0, 10.24))
  assert run(exact, QUESTION, "--max_new_tokens=8")[2] == ""


def test_a_missing_file(tmp_path, mistake):
  path = str(tmp_path / "absent.wav")
  assert f"{path}: cannot be opened" in mistake(path, QUESTION)


def test_a_question_without_quotes(tmp_path, mistake):
  path = write(tmp_path / "a.wav", noise(0, 1.0))
  line = mistake(path, *QUESTION.split())
  assert "What: cannot be opened" in line
  assert "put the question in quotes" in line


def test_a_text_file_named_wav(tmp_path, mistake):
  path = tmp_path / "notes.wav"
  path.write_text("these are my notes\n" * 100)
  assert str(path) in mistake(str(path), QUESTION)


def test_an_empty_file_and_a_clip_without_samples(tmp_path, mistake):
  path = tmp_path / "empty.wav"
  path.touch()
  assert str(path) in mistake(str(path), QUESTION)
  path = write(tmp_path / "none.wav", np.zeros(0))
  assert path in mistake(path, QUESTION)


def test_a_clip_shorter_than_a_frame(tmp_path, mistake):
  path = write(tmp_path / "tiny.wav", noise(0, 0.024))
  line = mistake(path, QUESTION)
  assert f"{path}: 24.0 ms of sound are too short" in line


def test_no_question(tmp_path, mistake):
  path = write(tmp_path / "a.wav", noise(0, 1.0))
  assert "the question is missing" in mistake(path)
  assert "the question is missing" in mistake(path, path)
  assert "the question is empty" in mistake(path, " ")


def test_bad_settings(mistake):
  assert "top_p is 1.5" in mistake(QUESTION, "--top_p=1.5")
  assert "temperature is -1" in mistake(QUESTION, "--temperature=-1")


def test_a_workdir_without_a_model_says_how_to_make_one(tmp_path, mistake):
  workdir = tmp_path / "absent"
  line = mistake(f"--workdir={workdir}", QUESTION)
  assert f"{workdir}: no run was started in this folder" in line
  assert "python -m ltu_jax.main" in line
  Workdir(tmp_path).record_config(tiny_config())
  line = mistake(f"--workdir={tmp_path}", QUESTION)
  assert f"{tmp_path}: no stage has a checkpoint yet" in line


def test_help_and_unknown_options(capsys):
  with pytest.raises(SystemExit) as e:
    ask.main(["--help"])
  assert e.value.code == 0
  assert "--workdir" in capsys.readouterr().out
  with pytest.raises(SystemExit) as e:
    ask.main(["--workdir=w", QUESTION, "--temprature=1"])
  assert e.value.code == 2
