"""The command line of conversion: examples, mistakes, interruptions."""

import errno
import json
import os
import pathlib
import pickle

import pytest
import safetensors.numpy

import golden_data
import import_seeds
from ltu_jax import base
from ltu_jax.convert.__main__ import main
from ltu_jax.convert.from_run import open_base

HEADS = ["--set=encoder.heads=4", "--set=llama.heads=4"]
HEADS += ["--set=llama.kv_heads=4", "--dtype=float32"]
SPM = golden_data.GOLDEN / "tiny_spm.model"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  """The published model, all weights, in one file."""
  path = tmp_path_factory.mktemp("ltu") / "ltu.safetensors"
  safetensors.numpy.save_file(golden_data.params("forward_a"), path)
  return path


@pytest.mark.parametrize("command", ["import", "export"])
def test_help_has_examples(command, capsys):
  with pytest.raises(SystemExit) as e:
    main([command, "--help"])
  assert e.value.code == 0
  out = capsys.readouterr().out
  assert f"python -m ltu_jax.convert {command} --" in out


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ("import --out=o", "nothing to import: give one of --base, --llama"),
    ("import --out=o --llama=none", "--llama: there is no file or folder none"),
    ("import --out=o --base=.", "no base weights"),
    ("import --out=o --run={d}", "no run was started"),
    ("import --out=o --ltu={f} --set=lora.r=1", "--set lora.r=1: write PART"),
    ("import --out={d} --ltu={f} {h}", "exists"),
    ("import --out=o --ltu={f} --tokenizer={d} {h}", "has neither tokenizer"),
    ("import --out=o --ltu={f} --tokenizer={f} {h}", "not a SentencePiece"),
    ("import --out=o --peft={d}", "adapter_config.json"),
    ("import --out=o --llama={d}", "config.json"),
    ("import --out=o --llama={f}", "GGUF"),
    ("export --workdir={d} --format=ltu --out=o.bin", "no run was started"),
    ("export --base=none --format=hf --out=o", "no base weights"),
    ("export --base=x --format=hf --out=o --stage=1", "--stage goes with"),
    ("export --base=x --format=hf --out=o --all_weights", "--all_weights goes"),
    ("export --base=x --format=ltu --out=o --unmerged", "--unmerged goes with"),
  ],
)
def test_mistakes_are_one_error(
  arguments, words, file, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  folder = tmp_path / "d"
  folder.mkdir()
  text = arguments.format(f=file, d=folder, h=" ".join(HEADS))
  assert main(text.split()) == 2
  error = capsys.readouterr().err
  assert error.startswith("convert: ") and words in error
  assert "Traceback" not in error
  assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_folder_with_several_gguf_files(tmp_path, capsys):
  for name in ("a.gguf", "b.gguf"):
    (tmp_path / name).touch()
  assert main(["import", f"--llama={tmp_path}", f"--out={tmp_path}/o"]) == 2
  assert "has a.gguf, b.gguf; name one" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_a_damaged_tokenizer_of_a_decoder_is_one_error(tmp_path, capsys, name):
  for file, data in import_seeds.folders()["bpe"][1].items():
    (tmp_path / file).write_bytes(data)
  (tmp_path / name).write_bytes(b"none")
  assert main(["import", f"--llama={tmp_path}", f"--out={tmp_path}/out"]) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"convert: {tmp_path / name}: not a ")
  assert not (tmp_path / "out").exists()


def test_half_a_character_in_a_tokenizer_config(tmp_path):
  for file, data in import_seeds.folders()["bpe"][1].items():
    (tmp_path / file).write_bytes(data)
  config = json.loads((tmp_path / "tokenizer_config.json").read_text())
  config["chat_template"] = "a\ud800"
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
  assert main(["import", f"--llama={tmp_path}", f"--out={tmp_path}/out"]) == 0
  assert base.info(tmp_path / "out").parts


def test_tokenizer_by_hand(file, tmp_path):
  out = f"--out={tmp_path / 'b'}"
  tokenizer = f"--tokenizer={SPM}"
  assert main(["import", f"--ltu={file}", out, tokenizer, *HEADS]) == 0
  opened = open_base(tmp_path / "b")
  assert opened.tokenizer.model == SPM.read_bytes()
  # What goes into a model card has no folders of the machine.
  origin = "\n".join(opened.training["origin"])
  assert "--ltu=ltu.safetensors" in origin and "alpha" in origin
  assert str(file.parent) not in origin


class Evil:
  """Makes a file when it is unpickled by a reader that runs code."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
  trap = tmp_path / "trap"
  evil = tmp_path / "evil.bin"
  evil.write_bytes(pickle.dumps({"w": Evil(trap)}, protocol=2))
  for option in ("ltu", "audio"):
    out = f"--out={tmp_path / 'o'}"
    assert main(["import", f"--{option}={evil}", out]) == 2
    assert "holds code" in capsys.readouterr().err
  assert not trap.exists() and not (tmp_path / "o").exists()
  pickle.loads(evil.read_bytes())
  assert trap.exists()  # it would have run


@pytest.mark.parametrize(
  ("error", "status", "words"),
  [
    (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
    (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left"),
  ],
)
def test_interruption_and_a_full_disk_leave_nothing(
  error, status, words, file, tmp_path, monkeypatch, capsys
):
  add, calls = base.BaseWriter.add, []

  def stop(writer, name, array):
    calls.append(name)
    if len(calls) == 20:
      raise error
    add(writer, name, array)

  monkeypatch.setattr(base, "_FLUSH_BYTES", 1)
  monkeypatch.setattr(base.BaseWriter, "add", stop)
  out = tmp_path / "b"
  assert main(["import", f"--ltu={file}", f"--out={out}", *HEADS]) == status
  assert words in capsys.readouterr().err
  assert list(pathlib.Path(tmp_path).iterdir()) == []
