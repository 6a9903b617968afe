"""What a checkpoint was made of and on, compared with what goes on from it."""

import hashlib
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from ltu_jax import __version__
from ltu_jax.checkpoint_step import CheckpointError

_MADE_OF, _MADE_ON = "made_of", "made_on"


def metadata(
  base: str, data: str, tokenizer: str, mesh: Mesh
) -> dict[str, dict[str, str]]:
  """What every checkpoint says of where it comes from.

  Args:
    base: hash of the start weights.
    data: name, version and hash of the data.
    tokenizer: hash of the tokenizer.
    mesh: the mesh.
  """
  devices = jax.devices()
  shape = ", ".join(f"{k} {v}" for k, v in mesh.shape.items())
  return {
    _MADE_OF: {"base": base, "data": data, "tokenizer": tokenizer},
    _MADE_ON: {
      "ltu_jax": __version__,
      "JAX": jax.__version__,
      "devices": f"{len(devices)} x {devices[0].device_kind}",
      "processes": str(jax.process_count()),
      "mesh": shape,
    },
  }


def check(
  saved: Mapping[str, Any],
  now: Mapping[str, Any],
  allow: Collection[str],
  folder: pathlib.Path,
) -> list[str]:
  """Refuses to go on from a checkpoint with other weights or data below it.

  Args:
    saved: metadata of the checkpoint.
    now: `metadata` of this run.
    allow: what may differ all the same.
    folder: of the checkpoint, for the error.

  Returns:
    What else differs and may: other devices, another mesh, another JAX or
    ltu_jax.

  Raises:
    CheckpointError: base, data or tokenizer are others; names each.
  """
  lines = _differences(saved, now, _MADE_OF)
  wrong = {name: line for name, line in lines.items() if name not in allow}
  if wrong:
    raise CheckpointError(
      f"{folder}: the run so far was made with another {', '.join(wrong)}:\n  "
      + "\n  ".join(wrong.values())
      + "\nSet this back, or choose another --workdir; or go on all the same"
      f" with --allow={','.join(wrong)}"
    )
  return list(_differences(saved, now, _MADE_ON).values())


def _differences(
  saved: Mapping[str, Any], now: Mapping[str, Any], group: str
) -> dict[str, str]:
  """From name to "name: old -> new", of one group of facts."""
  old, new = saved.get(group, {}), now[group]
  return {
    name: f"{name}: {old.get(name, 'not known')} -> {new[name]}"
    for name in new
    if old.get(name) != new[name]
  }


def hash_files(files: Collection[pathlib.Path]) -> str:
  """One hash over the names and bytes of files; "" for none."""
  if not files:
    return ""
  digest = hashlib.sha256()
  for file in sorted(files):
    content = file.read_bytes()
    digest.update(f"{file.name} {len(content)}\n".encode() + content)
  return digest.hexdigest()[:16]
