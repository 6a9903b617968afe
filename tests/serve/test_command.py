"""The command: real processes, real signals."""

import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

import process_run
import test_bundle
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.serve import __main__ as command
from random_model import random_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
  folder = tmp_path_factory.mktemp("bundle") / "b"
  encoder = EncoderConfig(dim=16, depth=1, heads=2, dtype="float32")
  cfg = dataclasses.replace(test_bundle.model_config(), encoder=encoder)
  test_bundle.write(folder, random_model(cfg))
  return folder


def fails(capsys, *argv):
  assert command.main(argv) == 2
  out, err = capsys.readouterr()
  assert not out and err.startswith("serve: ") and err.count("\n") == 1
  return err


@pytest.fixture
def kept():
  """A folder of compiled programs that only this command uses."""
  return pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"], "serve")


@pytest.fixture
def started(bundle, kept):
  flags = ("--port=0", "--no-page", "--context=2048", "--rows=2")
  flags += (f"--compile_cache={kept}",)
  process = subprocess.Popen(
    [sys.executable, "-m", "ltu_jax.serve", f"--bundle={bundle}", *flags],
    cwd=process_run.ROOT,
    env=process_run.environment(1) | {"LTU_TOKEN": "x"},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  yield process
  process.kill()
  process.communicate()


@pytest.mark.slow
def test_serves_until_a_signal_and_finishes_what_is_open(started, kept):
  line = started.stdout.readline()
  assert line.startswith("serve: ready at http://127.0.0.1:"), (
    started.communicate(timeout=10)
  )
  url = line.split()[-1]
  headers = {"Authorization": "Bearer x"}
  with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
    assert client.get("/healthz").json()["status"] == "ok"
    form = {"question": "What?", "max_new_tokens": "1500", "stream": "true"}
    form |= {"temperature": "0", "repetition_penalty": "1"}
    sent = {name: (None, value) for name, value in form.items()}
    events, begun = [], threading.Event()

    def listen():
      with client.stream("POST", "/v1/answers", files=sent) as found:
        for text in found.iter_lines():
          begun.set()
          events.append(text)

    thread = threading.Thread(target=listen)
    thread.start()
    assert begun.wait(60)
    started.send_signal(signal.SIGTERM)
    statuses = set()
    while thread.is_alive():
      try:
        statuses.add(httpx.get(f"{url}/healthz").status_code)
      except httpx.HTTPError:
        break
    thread.join(60)
  assert "event: answer" in events
  assert list(kept.iterdir())
  assert 503 in statuses
  _, err = started.communicate(timeout=60)
  assert (started.returncode, err) == (0, "")


def test_an_address_in_use(capsys, bundle):
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
    err = fails(capsys, f"--bundle={bundle}", f"--port={port}")
  assert f"127.0.0.1:{port} cannot be used: Address already in use" in err


def test_no_bundle(capsys, tmp_path):
  err = fails(capsys, f"--bundle={tmp_path}", "--port=0")
  assert "there is no bundle in this folder" in err


def test_where_compiled_programs_cannot_be_kept(capsys, tmp_path):
  file = tmp_path / "file"
  file.touch()
  flags = (f"--bundle={tmp_path}", "--port=0", "--no-page")
  assert command.main((*flags, f"--compile_cache={file}")) == 2
  warning, error = capsys.readouterr().err.splitlines()
  assert warning.startswith(f"serve: warning: {file}: compiled programs cannot")
  assert "there is no bundle in this folder" in error


def test_the_extra_is_missing(capsys, monkeypatch, tmp_path):
  find = command.importlib.util.find_spec
  monkeypatch.setattr(
    command.importlib.util,
    "find_spec",
    lambda name: None if name == "uvicorn" else find(name),
  )
  err = fails(capsys, f"--bundle={tmp_path}", "--no-page")
  assert "uvicorn is not installed: pip install 'ltu-jax[demo]'" in err


def test_tokens(capsys, tmp_path, monkeypatch):
  file = tmp_path / "token"
  file.write_text("\n")
  err = fails(capsys, f"--bundle={tmp_path}", f"--token_file={file}")
  assert "one line of printable ASCII" in err
  err = fails(capsys, f"--bundle={tmp_path}", f"--token_file={file}2")
  assert "cannot be read" in err
  file.write_text("secret\n")
  assert command._token(str(file)) == "secret"
  monkeypatch.setitem(os.environ, "LTU_TOKEN", "other")
  assert command._token(None) == "other"


def test_numbers_out_of_range(capsys, tmp_path):
  with pytest.raises(SystemExit):
    command.main([f"--bundle={tmp_path}", "--port=99999"])
  assert "'99999' is not a number from 0 to 65535" in capsys.readouterr().err
