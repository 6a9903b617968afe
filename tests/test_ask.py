"""The command line: mistakes are one clear line, answers are the model's.

The model is a real one with random weights; only where it is loaded from is
replaced (`ask._load`).
"""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
from random_model import random_model

import golden_data
from ltu_jax import ask, generate, sampling
from ltu_jax.data.prompts import build_prompt
from ltu_jax.data.tokenizer import SentencePieceTokenizer

QUESTION = "What can be heard?"


@pytest.fixture(scope="module")
def trained():
  tokenizer = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")
  cfg = golden_data.config("forward_a")
  cfg = dataclasses.replace(
    cfg, llama=dataclasses.replace(cfg.llama, vocab=tokenizer.vocab_size)
  )
  return random_model(cfg), tokenizer


@pytest.fixture
def loaded(monkeypatch, trained):
  monkeypatch.setattr(ask, "_load", lambda workdir: trained)
  return trained


def write(path, samples, rate=16000):
  soundfile.write(path, samples, rate, subtype="PCM_16")
  return str(path)


def noise(seed, seconds):
  rng = np.random.default_rng(seed)
  return rng.normal(size=int(seconds * 16000)).clip(-3, 3) / 4


def run(capsys, *argv):
  status = ask.main(["--workdir=w", *argv])
  captured = capsys.readouterr()
  return status, captured.out, captured.err


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


def test_one_clip(tmp_path, capsys, loaded):
  path = write(tmp_path / "a.wav", noise(0, 1.0))
  status, out, err = run(capsys, path, QUESTION, "--max_new_tokens=8")
  assert (status, err) == (0, "")
  assert out == direct(loaded, ask.read_clip(path)) + "\n"


def test_several_clips_and_json(tmp_path, capsys, loaded):
  paths = [write(tmp_path / f"{i}.wav", noise(i, 1 + i)) for i in range(3)]
  limit = "--max_new_tokens=8"
  status, out, _ = run(capsys, *paths, QUESTION, limit, "--json")
  assert status == 0
  results = [json.loads(line) for line in out.splitlines()]
  assert [r["audio"] for r in results] == paths
  for path, result in zip(paths, results, strict=True):
    assert result["question"] == QUESTION
    assert result["answer"] == direct(loaded, ask.read_clip(path))
    assert result["finished"] is False
  _, out, _ = run(capsys, *paths, QUESTION, limit)
  assert out == "".join(f"{r['audio']}: {r['answer']}\n" for r in results)


def test_without_sound(capsys, loaded):
  status, out, _ = run(capsys, QUESTION, "--max_new_tokens=8", "--json")
  assert status == 0
  result = json.loads(out)
  assert result["audio"] is None
  assert result["answer"] == direct(loaded, None)


def test_seed_and_temperature(capsys, loaded):
  def sampled(seed):
    settings = ("--temperature=2", "--top_k=0", "--top_p=1")
    return run(capsys, QUESTION, f"--seed={seed}", *settings)[1]

  assert sampled(1) == sampled(1)
  assert sampled(1) != sampled(2)


def test_silence_is_answered_with_a_warning(tmp_path, capsys, loaded):
  path = write(tmp_path / "silence.wav", np.zeros(16000))
  status, out, err = run(capsys, path, QUESTION, "--max_new_tokens=8")
  assert status == 0 and out
  assert err == f"ask: warning: {path}: this clip is digital silence.\n"


def test_a_long_clip_is_answered_with_a_warning(tmp_path, capsys, loaded):
  path = write(tmp_path / "long.wav", noise(0, 12.0))
  status, out, err = run(capsys, path, QUESTION, "--max_new_tokens=8")
  assert status == 0 and out
  assert err.endswith("only the first 10.26 s are heard.\n")
  exact = write(tmp_path / "exact.wav", noise(0, 10.24))
  assert run(capsys, exact, QUESTION, "--max_new_tokens=8")[2] == ""


def mistake(capsys, *argv):
  """Runs a command that must fail with one line; returns the line."""
  status, out, err = run(capsys, *argv)
  assert (status, out) == (2, "")
  assert err.startswith("ask: ") and err.count("\n") == 1
  return err


def test_a_missing_file(tmp_path, capsys):
  path = str(tmp_path / "absent.wav")
  assert f"{path}: cannot be opened" in mistake(capsys, path, QUESTION)


def test_a_question_without_quotes(tmp_path, capsys):
  path = write(tmp_path / "a.wav", noise(0, 1.0))
  line = mistake(capsys, path, *QUESTION.split())
  assert "What: cannot be opened" in line
  assert "put the question in quotes" in line


def test_a_text_file_named_wav(tmp_path, capsys):
  path = tmp_path / "notes.wav"
  path.write_text("these are my notes\n" * 100)
  assert str(path) in mistake(capsys, str(path), QUESTION)


def test_an_empty_file_and_a_clip_without_samples(tmp_path, capsys):
  path = tmp_path / "empty.wav"
  path.touch()
  assert str(path) in mistake(capsys, str(path), QUESTION)
  path = write(tmp_path / "none.wav", np.zeros(0))
  assert path in mistake(capsys, path, QUESTION)


def test_a_clip_shorter_than_a_frame(tmp_path, capsys):
  path = write(tmp_path / "tiny.wav", noise(0, 0.024))
  line = mistake(capsys, path, QUESTION)
  assert f"{path}: 24.0 ms of sound are too short" in line


def test_no_question(tmp_path, capsys):
  path = write(tmp_path / "a.wav", noise(0, 1.0))
  assert "the question is missing" in mistake(capsys, path)
  assert "the question is missing" in mistake(capsys, path, path)
  assert "the question is empty" in mistake(capsys, path, " ")


def test_bad_settings(capsys):
  assert "top_p is 1.5" in mistake(capsys, QUESTION, "--top_p=1.5")
  assert "temperature is -1" in mistake(capsys, QUESTION, "--temperature=-1")


def test_a_workdir_without_a_model_says_how_to_make_one(tmp_path, capsys):
  workdir = tmp_path / "absent"
  line = mistake(capsys, f"--workdir={workdir}", QUESTION)
  assert f"{workdir} holds no trained model" in line
  assert f"ltu_jax.main --config=configs/quickstart.py --workdir={workdir}" in (
    line
  )


def test_help_and_unknown_options(capsys):
  with pytest.raises(SystemExit) as e:
    ask.main(["--help"])
  assert e.value.code == 0
  assert "--workdir" in capsys.readouterr().out
  with pytest.raises(SystemExit) as e:
    ask.main(["--workdir=w", QUESTION, "--temprature=1"])
  assert e.value.code == 2
