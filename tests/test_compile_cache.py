"""What is compiled is kept, where it can be."""

import os
import pathlib
import subprocess
import sys

from ltu_jax import compile_cache

CODE = """
import sys
from ltu_jax import compile_cache
print(compile_cache.enable(*sys.argv[1:]))
import jax
print(jax.config.jax_compilation_cache_dir)
jax.jit(lambda x: x * 3)(2.0)
"""


def run(*args, **env):
  outer = {k: v for k, v in os.environ.items() if not k.startswith("JAX_P")}
  outer.pop("JAX_COMPILATION_CACHE_DIR", None)
  done = subprocess.run(
    [sys.executable, "-c", CODE, *args],
    env=outer | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", **env},
    capture_output=True,
    text=True,
    check=True,
  )
  return done.stdout.splitlines()


def test_where_programs_are_kept(tmp_path):
  kept = tmp_path / "ltu_jax" / "compiled"
  assert run(XDG_CACHE_HOME=str(tmp_path)) == ["", str(kept)]
  assert list(kept.iterdir()) and kept.stat().st_mode & 0o077 == 0
  other = tmp_path / "other"
  assert run(str(other), JAX_COMPILATION_CACHE_DIR="x") == ["", str(other)]
  assert list(other.iterdir())
  own = str(tmp_path / "own")
  assert run(JAX_COMPILATION_CACHE_DIR=own) == ["", own]
  assert run("none", XDG_CACHE_HOME=str(tmp_path / "c")) == ["", "None"]
  assert not (tmp_path / "c").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
  (tmp_path / "file").touch()
  why, folder = run(str(tmp_path / "file"))
  assert "cannot be kept there: File exists" in why and folder == "None"


def test_the_default(monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", "/x")
  folder = compile_cache.default_folder()
  assert folder == pathlib.Path("/x/ltu_jax/compiled")
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", "/home/me")
  folder = compile_cache.default_folder()
  assert folder == pathlib.Path("/home/me/.cache/ltu_jax/compiled")
