"""Many questions: folders, tables, answers files, windows, samples, beams."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hears_ctrl_c import hears_ctrl_c
from ltu_jax import generate, sampling
from ltu_jax.answers.answerer import Answerer, Question
from ltu_jax.ask.clips import read_clip
from ltu_jax.data.prompts import build_prompt

QUESTION = "What can be heard?"


def table(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


def test_a_folder(tmp_path, asked, direct, noise, lines):
  wanted = {}
  for seed, name in enumerate(("b/z.wav", "a.FLAC", "b/c/d.wav")):
    wanted[str(tmp_path / name)] = noise(tmp_path / name, seed)
  (tmp_path / "notes.txt").write_text("no sound")
  status, out, err = asked(tmp_path, QUESTION, "--json")
  assert (status, err) == (0, f"ask: {tmp_path}: 3 sound files\n")
  found = lines(out)
  assert [line["audio"] for line in found] == sorted(wanted)
  for number, line in enumerate(found):
    assert line["item"] == number and line["seconds"] == 0.5
    assert line["answer"] == direct(QUESTION, wanted[line["audio"]])
  assert asked(tmp_path, tmp_path)[0] == 2
  (tmp_path / "none").mkdir()
  status, _, err = asked(tmp_path / "none", QUESTION)
  assert status == 2 and "there is no sound file in this folder" in err


def test_one_failed_clip_does_not_end_the_run(tmp_path, asked, noise, lines):
  names = [str(tmp_path / f"{n}.wav") for n in range(3)]
  noise(tmp_path / "0.wav")
  (tmp_path / "1.wav").write_bytes(b"no sound at all")
  noise(tmp_path / "2.wav", seconds=0.01)
  status, out, err = asked(*names, QUESTION, "--json")
  assert status == 1
  found = lines(out)
  assert found[0]["answer"] and "error" not in found[0]
  assert "cannot be decoded" in found[1]["error"]
  assert "10.0 ms of sound are too short" in found[2]["error"]
  assert found[1]["answer"] is None and found[1]["finished"] is False
  assert err.count(names[1]) == 1
  assert "2 of 3 questions have no answer" in err
  status, out, _ = asked(*names, QUESTION)
  assert out == f"{names[0]}: {found[0]['answer']}\n"


def test_a_table_into_a_file_and_again(tmp_path, asked, direct, noise, lines):
  pcm = noise(tmp_path / "sounds" / "a.wav", rate=16000)
  noise(tmp_path / "sounds" / "b.wav", seed=1, rate=22050, channels=2)
  rows = [
    {"audio": "a.wav", "question": "Why?", "reference": "because"},
    {"audio": "b.wav", "question": ""},
    {"audio": "absent.wav"},
    {"audio": ""},
  ]
  out = tmp_path / "out.jsonl"
  args = (
    f"--input={table(tmp_path / 'q.jsonl', rows)}",
    f"--audio_root={tmp_path / 'sounds'}",
    f"--out={out}",
    "--context=128",
    QUESTION,
  )
  status, printed, err = asked(*args, "--progress")
  assert status == 1 and printed == ""
  assert "1 of 4 questions have no answer" in err and "4/4" in err
  found = {line["item"]: line for line in lines(out.read_text())}
  assert sorted(found) == [0, 1, 2, 3]
  assert found[0]["reference"] == "because"
  assert found[0]["answer"] == direct("Why?", pcm)
  assert found[3]["answer"] == direct(QUESTION)
  assert found[1]["notes"] == [
    "resampled from 22050 Hz",
    "first of 2 channels taken",
  ]
  assert "resampled from 22050 Hz" in err
  assert "cannot be opened" in found[2]["error"]

  noise(tmp_path / "sounds" / "absent.wav", seed=3)
  status, _, err = asked(*args)
  assert status == 0 and "4 answers" in err and "(3 of them before)" in err
  again = {line["item"]: line for line in lines(out.read_text())}
  assert again.pop(2)["answer"] and again == {k: found[k] for k in (0, 1, 3)}
  status, _, err = asked(*args)
  assert (status, err) == (0, f"ask: {out}: all 4 answers are there.\n")
  status, _, err = asked(*args[:-1], "Another question?")
  assert status == 2 and "answers to other questions (item 1" in err


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path, asked, lines, tiny_bundle):
  count = 150
  rows = [{"audio": None, "question": f"What is {n}?"} for n in range(count)]
  source = table(tmp_path / "q.jsonl", rows)
  args = [f"--input={source}", "--context=128", "--rows=1"]
  limit = "--max_new_tokens=16"
  half = tmp_path / "half.jsonl"
  command = [sys.executable, "-m", "ltu_jax.ask", f"--bundle={tiny_bundle}"]
  with subprocess.Popen(
    [*command, *args, limit, f"--out={half}"], stderr=subprocess.DEVNULL
  ) as process:
    deadline = time.monotonic() + 120
    while not half.exists() or half.read_bytes().count(b"\n") < 2:
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
  kept = half.read_text()
  assert 2 <= kept.count("\n") < count
  half.write_text(kept + kept[: kept.index("\n") // 2])  # cut off in a line
  status, _, err = asked(*args, f"--out={half}", tokens=16)
  assert status == 0 and f"({kept.count(chr(10))} of them before)" in err
  assert half.read_text().startswith(kept[: kept.rindex("\n") + 1])
  status, printed, _ = asked(*args, "--json", "--rows=8", tokens=16)
  found = sorted(lines(half.read_text()), key=lambda line: line["item"])
  assert status == 0 and found == lines(printed)


def test_ctrl_c_keeps_what_is_there(tmp_path, lines, tiny_bundle):
  rows = [{"audio": None, "question": f"What is {n}?"} for n in range(500)]
  source = table(tmp_path / "q.jsonl", rows)
  out = tmp_path / "out.jsonl"
  process = subprocess.Popen(
    [
      *(sys.executable, "-m", "ltu_jax.ask", f"--bundle={tiny_bundle}"),
      *(f"--input={source}", "--context=128", "--rows=1", f"--out={out}"),
      "--max_new_tokens=16",
    ],
    stderr=subprocess.PIPE,
    text=True,
    preexec_fn=hears_ctrl_c,
  )
  with process:
    deadline = time.monotonic() + 120
    while not out.exists() or out.read_bytes().count(b"\n") < 2:
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    err = process.stderr.read()
  assert process.returncode == 130
  assert "Traceback" not in err
  count = len(lines(out.read_text()))
  assert f"{count} of 500 answers are in {out}" in err and "goes on" in err


def test_nobody_reads_the_output(tmp_path, tiny_bundle):
  rows = [{"audio": None, "question": f"What is {n}?"} for n in range(100)]
  source = table(tmp_path / "q.jsonl", rows)
  command = (
    f"{sys.executable} -m ltu_jax.ask --bundle={tiny_bundle} --input={source}"
    " --context=128 --max_new_tokens=8 | head -n 1"
  )
  done = subprocess.run(
    ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True
  )
  assert done.stdout.count("\n") == 1 and done.returncode == 141
  assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_windows(tmp_path, asked, direct, noise, lines):
  pcm = noise(tmp_path / "long.wav", seconds=25)
  short = noise(tmp_path / "short.wav", seed=1)
  args = ("--windows", "--overlap=1", QUESTION)
  names = (tmp_path / "long.wav", tmp_path / "short.wav")
  status, out, err = asked(*names, *args, "--json")
  assert (status, err) == (0, "")
  long, brief = lines(out)
  spans = [(0.0, 10.24), (9.24, 19.48), (14.76, 25.0)]
  assert [(w["start"], w["end"]) for w in long["windows"]] == spans
  answers = [
    direct(QUESTION, pcm[round(start * 16000) : round(end * 16000)])
    for start, end in spans
  ]
  assert [w["answer"] for w in long["windows"]] == answers
  assert long["seconds"] == 25 and long["tokens"] == 24
  assert long["answer"].startswith("0.0-")
  assert brief["answer"] == direct(QUESTION, short)
  assert [(w["start"], w["end"]) for w in brief["windows"]] == [(0.0, 0.5)]
  status, out, err = asked(names[0], QUESTION)
  assert status == 0 and out == answers[0] + "\n"
  assert "only the first 10.24 s of 25.0 s" in err and "--windows" in err


def test_two_hours_are_refused(tmp_path, asked, noise):
  noise(tmp_path / "a.wav", seconds=7200, rate=1000)
  status, _, err = asked(tmp_path / "a.wav", QUESTION, "--windows")
  assert status == 2 and err.count("\n") == 1
  assert "120 minutes of sound are too many" in err


def test_samples_and_published_settings(asked, lines, tiny_model):
  args = ("--published", "--temperature=1", "--samples=3", "--seed=5")
  status, out, _ = asked(QUESTION, *args, "--json")
  [line] = lines(out)
  config = sampling.SamplingConfig(1.0, 0.95, 500, 1.1, 8)
  answerer = Answerer(*tiny_model, num_rows=3, context=128)
  questions = [
    Question(QUESTION, config=config, seed=5, sample=n) for n in range(3)
  ]
  wanted = {n: a.text for n, a in answerer.answers(questions)}
  assert [s["answer"] for s in line["samples"]] == [wanted[n] for n in range(3)]
  assert len(set(wanted.values())) == 3
  assert status == 0 and line["answer"] == wanted[0]
  _, out, _ = asked(QUESTION, *args)
  assert out == "".join(f"{n + 1}: {wanted[n]}\n" for n in range(3))


def test_a_stop_string(asked, direct):
  whole = direct(QUESTION)
  stop = whole[len(whole) // 2 :][:2]
  status, out, _ = asked(QUESTION, "--stop=never said", f"--stop={stop}")
  assert status == 0 and out.strip() == whole[: whole.index(stop)].strip()


@pytest.mark.slow
def test_beams(tmp_path, asked, noise, tiny_model):
  noise(tmp_path / "a.wav")
  model, tokenizer = tiny_model
  pcm, num_samples = generate.batch_clips([read_clip(tmp_path / "a.wav").pcm])
  [[best]] = generate.beam_search(
    model,
    [tokenizer.encode(build_prompt(QUESTION), bos=True, eos=False)],
    pcm=pcm,
    num_samples=num_samples,
    beams=3,
    config=sampling.SamplingConfig(0.0, 1.0, 0, 1.0, 8),
  )
  status, out, _ = asked(tmp_path / "a.wav", QUESTION, "--beams=3")
  assert status == 0 and out.strip() == tokenizer.decode(best.tokens).strip()
  status, _, err = asked(QUESTION, "--beams=3", "--published")
  assert status == 2 and "temperature must be 0" in err
  assert asked(QUESTION, "--beams=100000")[0] == 2


@pytest.mark.slow  # it compiles for two meshes
def test_a_mesh_and_rounded_matrices(asked, direct):
  status, out, _ = asked(QUESTION, "--mesh=tensor=2,fsdp=4")
  # Sums in another order may move logits, but not this model's choice.
  assert (status, out) == (0, direct(QUESTION) + "\n")
  status, out, _ = asked(QUESTION, "--base_dtype=int8", "--dtype=float32")
  assert status == 0 and out
  status, _, err = asked(QUESTION, "--mesh=tensors=2")
  assert status == 2 and "tensors=2" in err and err.count("\n") == 1


def test_a_question_that_is_too_long(asked):
  status, out, err = asked("why " * 100, "--context=64")
  assert (status, out) == (1, "")
  assert "there is room for 64" in err and "raise the context" in err


@pytest.mark.parametrize(
  "args, message",
  [
    ([], "there is no question"),
    (["--chat", "--json"], "--chat and --json do not go together"),
    (["a", "--windows", "--samples=2"], "--windows and --samples do not"),
    (["a", "--overlap=3"], "--overlap is of use with --windows only"),
    (["a", "--audio_root=x"], "--audio_root is of use with --input only"),
    (["a", "--windows", "--overlap=11"], "overlap is 11.0"),
    (["a", "--seed=-1"], "seed is -1"),
    (["a", "--stop="], "a --stop string is empty"),
    (["--input=q.csv", "a", "b"], "--input takes the sounds from the table"),
    (["--input=absent.csv"], "absent.csv: cannot be read: not found"),
    (["--chat", "a", "b"], "--chat takes one sound file"),
  ],
)
def test_mistakes_in_the_call(asked, args, message):
  status, out, err = asked(*args)
  assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_mistyped_name_is_told_at_once(tmp_path):
  """That is, before JAX is imported."""
  code = (
    "import sys; from ltu_jax import ask; s = ask.main(sys.argv[1:]);"
    "print(s, 'jax' in sys.modules, 'tensorflow' in sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, "--bundle=b", "absent.wav", QUESTION],
    env=os.environ | {"XLA_FLAGS": ""},
    capture_output=True,
    text=True,
  )
  assert done.stdout == "2 False False\n", done.stderr
