"""Keeps compiled programs on disk, so that the next start is a quick one."""

import argparse
import os
import pathlib
import tempfile
from collections.abc import Callable


def default_folder() -> pathlib.Path:
  """~/.cache/ltu_jax/compiled, or where XDG_CACHE_HOME says."""
  cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(cache).expanduser() / "ltu_jax" / "compiled"


def add_flag(add: Callable[..., argparse.Action]) -> None:
  """Adds --compile_cache, whose value `enable` takes.

  Args:
    add: The method `add_argument` of a parser or of a group.
  """
  add(
    "--compile_cache",
    metavar="DIR",
    help="where compiled programs are kept for the next start, or none; "
    "default: ~/.cache/ltu_jax/compiled",
  )


def enable(folder: str | None = None) -> str:
  """Has JAX keep all programs that it compiles from now on.

  Args:
    folder: Where; None is JAX_COMPILATION_CACHE_DIR if that is set, and else
      `default_folder()`; "none" keeps nothing. Whoever can write there can have
      this process run anything.

  Returns:
    "", or why nothing is kept: a folder that cannot be written is no error.
  """
  import jax

  if folder is None and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return ""
  if folder == "none":
    jax.config.update("jax_compilation_cache_dir", None)
    return ""
  path = pathlib.Path(folder).expanduser() if folder else default_folder()
  try:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
      pass
  except (OSError, ValueError, RuntimeError) as error:
    why = getattr(error, "strerror", None) or error
    return f"{path}: compiled programs cannot be kept there: {why}."
  jax.config.update("jax_compilation_cache_dir", str(path))
  # All of them: on a CPU, many small ones make up most of a start.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
  return ""
