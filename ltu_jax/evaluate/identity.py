"""What tells models and machines apart, for a result."""

import hashlib
import json
import pathlib
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import jax
from flax import nnx

from ltu_jax import __version__, checksum
from ltu_jax.models.ltu import LTU

_PACKAGES = ("jax", "flax", "numpy")


def of_model(model: LTU) -> str:
  """Returns a checksum of all weights and sizes, 16 hexadecimal digits.

  Computed where the weights lie: of LTU-7B it takes seconds, not the reading
  of 13 GB.

  Args:
    model: The model, on any mesh.
  """
  _, state = nnx.split(model)
  sums = checksum.of_tree(nnx.to_pure_dict(state))
  text = json.dumps([sorted(sums.items()), repr(model.cfg)])
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def revision() -> str:
  """Returns the git revision of this code, with "+" if files were changed.

  "" where the code is in no repository.
  """
  folder = pathlib.Path(__file__).parent
  git = ["git", "-C", str(folder)]
  try:
    head = _output([*git, "rev-parse", "HEAD"])
    changed = _output([*git, "status", "--porcelain", "-uno", "."])
  except (OSError, subprocess.SubprocessError):
    return ""
  return head[:12] + "+" * bool(changed)


def versions() -> dict[str, str]:
  """Returns the versions of what computes."""
  found = {"python": platform.python_version(), "ltu-jax": __version__}
  for name in _PACKAGES:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      found[name] = "not installed"
  return found


def devices() -> str:
  """Returns the number and kind of the devices."""
  return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def of_files(paths: list[pathlib.Path]) -> Mapping[str, Any]:
  """Returns the SHA-256 of each file by its name."""
  found = {}
  for path in paths:
    with path.open("rb") as file:
      found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
  return found


def _output(command: list[str]) -> str:
  """What a command prints."""
  done = subprocess.run(
    command, capture_output=True, text=True, timeout=20, check=True
  )
  return done.stdout.strip()


def of_values(value: Any) -> str:
  """Returns a digest of plain values, 16 hexadecimal digits; texts as they are.

  Args:
    value: A text, or what JSON can hold.
  """
  if isinstance(value, str):
    return value
  return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
