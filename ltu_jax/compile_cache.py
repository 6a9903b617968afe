"""Keeps compiled programs, so that the next start is a quick one.

On this machine's disk, or in a bucket that the machines of a run share: what
one of them compiled, the others and their successors need not.
"""

import argparse
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Callable

HELP = (
  "where compiled programs are kept for the next start, a folder or"
  " gs://BUCKET/FOLDER, or none; default: ~/.cache/ltu_jax/compiled"
)

_BUCKET = "gs://"

_BUCKET_SECONDS = 1.0
"""What compiles faster is not kept in a bucket, where each program is a few
requests of some 50 ms; it is JAX's own default."""


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
    help=HELP,
  )


def enable(folder: str | None = None) -> str:
  """Has JAX keep all programs that it compiles from now on.

  Args:
    folder: Where; None is JAX_COMPILATION_CACHE_DIR if that is set, and else
      `default_folder()`; "none" keeps nothing. Whoever can write there can have
      this process run anything.

  Returns:
    "", or why nothing is kept: a folder that cannot be written is no error, nor
    is a bucket that cannot be read.
  """
  import jax

  if folder is None and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return ""
  if folder == "none":
    jax.config.update("jax_compilation_cache_dir", None)
    return ""
  if folder is not None and folder.startswith(_BUCKET):
    where, seconds, why = folder, _BUCKET_SECONDS, _bucket_failure(folder)
  else:
    path = pathlib.Path(folder).expanduser() if folder else default_folder()
    # All of them: on a CPU, many small ones make up most of a start.
    where, seconds, why = str(path), 0, _disk_failure(path)
  if why:
    return f"{where}: compiled programs cannot be kept there: {why}."
  jax.config.update("jax_compilation_cache_dir", where)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
  return ""


def _disk_failure(path: pathlib.Path) -> str:
  """Makes a folder; why it cannot be written, or ""."""
  try:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
      pass
  except (OSError, ValueError, RuntimeError) as error:
    return str(getattr(error, "strerror", None) or error)
  return ""


def _bucket_failure(address: str) -> str:
  """Why a bucket's folder cannot be listed, or "".

  Asked once, since JAX would warn of it at each program. Whether it may be
  written is not asked: reading alone is of use, too.
  """
  if importlib.util.find_spec("gcsfs") is None:
    return "it needs gcsfs; install it with: pip install 'ltu-jax[gcs]'"
  import google.auth.exceptions
  from gcsfs.core import GCSFileSystem
  from gcsfs.retry import HttpError

  bucket = address.removeprefix(_BUCKET).partition("/")[0]
  try:
    GCSFileSystem().ls(bucket)
  except (OSError, ValueError, HttpError) as error:
    return str(error) or type(error).__name__
  except google.auth.exceptions.GoogleAuthError as error:
    return f"no account to read it with ({error})"
  return ""
