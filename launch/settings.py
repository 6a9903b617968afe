"""What a TPU VM and its run are: flags, and one file of KEY=VALUE lines.

Sources: Google's page of TPU software versions,
https://cloud.google.com/tpu/docs/runtimes, and of types and their chips,
https://cloud.google.com/tpu/docs/supported-tpu-configurations.
"""

import argparse
import dataclasses
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

_VERSIONS = {
  "v2": "tpu-ubuntu2204-base",
  "v3": "tpu-ubuntu2204-base",
  "v4": "tpu-ubuntu2204-base",
  "v5litepod": "v2-alpha-tpuv5-lite",
  "v5p": "v2-alpha-tpuv5",
  "v6e": "v2-alpha-tpuv6e",
}
"""The software version that Google's page names for JAX, by generation."""

_COUNTS_CORES = ("v4", "v5p")
"""Generations whose types count two cores for what JAX calls one device."""

_TYPE = re.compile(r"(v[0-9]+[a-z]*)-([1-9][0-9]*)")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,60}[a-z0-9])?")
_BUCKET = re.compile(r"[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9]")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0", "")


class SettingsError(ValueError):
  """A setting that is missing or cannot be used; the message says which."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """A TPU VM and where its run reads and writes.

  Attributes:
    project: Google Cloud's project.
    zone: Where, such as us-central2-b.
    type: The accelerator type, such as v4-32.
    name: Of the TPU VM, and of the request if it is queued.
    bucket: Name of the bucket of runs, data and compiled programs; "" for none.
    version: The software version; "" for the one that belongs to the type.
    spot: Whether it is cheaper and may be taken away.
    queued_resource: Whether it is asked for in the queue.
    reserved: Whether it is taken from a reservation.
    service_account: Whom the machine acts as; "" for the project's default.
    network: The network's name; "" for the default.
    subnetwork: Its part; "" for none.
    internal_ips: Whether the machine has no address outside the network.
  """

  project: str = ""
  zone: str = ""
  type: str = ""
  name: str = ""
  bucket: str = ""
  version: str = ""
  spot: bool = False
  queued_resource: bool = False
  reserved: bool = False
  service_account: str = ""
  network: str = ""
  subnetwork: str = ""
  internal_ips: bool = False

  def need(self, *names: str) -> None:
    """Checks that settings are given.

    Raises:
      SettingsError: Some are not; names all of them.
    """
    missing = [name for name in names if not getattr(self, name)]
    if missing:
      flags = ", ".join(f"--{name}" for name in missing)
      keys = ", ".join(f"{name.upper()}=..." for name in missing)
      raise SettingsError(
        f"{flags} missing; give it, or the line {keys} in the file of --env"
      )

  def runtime_version(self) -> str:
    """The software version to ask for.

    Raises:
      SettingsError: The type's generation is not known.
    """
    if self.version:
      return self.version
    generation = _generation(self.type)
    if generation not in _VERSIONS:
      raise SettingsError(
        f"--version is missing: which belongs to {self.type} is not known here;"
        " see https://cloud.google.com/tpu/docs/runtimes"
      )
    return _VERSIONS[generation]

  def num_devices(self) -> int | None:
    """How many devices JAX has to see; None where that is not known."""
    generation = _generation(self.type)
    if generation not in _VERSIONS:
      return None
    count = int(self.type.rpartition("-")[2])
    return count // 2 if generation in _COUNTS_CORES else count


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}

_HELP = {
  "project": "Google Cloud's project",
  "zone": "such as us-central2-b",
  "type": "accelerator type, such as v4-32, v5litepod-16, v5p-8, v6e-8",
  "name": "of the TPU VM; default of the run's folder, too",
  "bucket": "default place of runs, data and compiled programs",
  "version": "TPU software version; default: the type's",
  "spot": "a spot machine: cheaper, may be taken away",
  "queued_resource": "ask in Google's queue, and wait",
  "reserved": "from a reservation of the project",
  "service_account": "whom the machine acts as, to read and write the bucket",
  "network": "default: the project's default network",
  "subnetwork": "part of the network",
  "internal_ips": "no outside address; run this inside the network",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Adds --env and a flag for every setting."""
  group = parser.add_argument_group("the machine")
  group.add_argument(
    "--env",
    metavar="FILE",
    help=f"lines KEY=VALUE: {', '.join(name.upper() for name in FIELDS)};"
    " flags win",
  )
  for name, field in FIELDS.items():
    flag = f"--{name.replace('_', '-')}"
    if field.type is bool:
      action = argparse.BooleanOptionalAction
      group.add_argument(flag, action=action, default=None, help=_HELP[name])
    else:
      group.add_argument(flag, help=_HELP[name])


def settings(args: argparse.Namespace) -> Settings:
  """Returns the settings of flags over those of the file of --env.

  Raises:
    SettingsError: The file cannot be read, has an unknown key or a line that
      is none, or a value cannot be right.
  """
  values: dict[str, Any] = {}
  if args.env:
    values = _read(pathlib.Path(args.env))
  given = {name: getattr(args, name) for name in FIELDS}
  values |= {name: value for name, value in given.items() if value is not None}
  _check(values)
  return Settings(**values)


def _read(path: pathlib.Path) -> dict[str, Any]:
  """Reads a file of settings."""
  try:
    lines = path.read_text(encoding="utf-8").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise SettingsError(f"--env={path} cannot be read: {error}") from error
  values: dict[str, Any] = {}
  for number, line in enumerate(lines, 1):
    where = f"{path}, line {number}"
    try:
      words = shlex.split(line, comments=True)
    except ValueError as error:
      raise SettingsError(f"{where}: {error}") from error
    if words[:1] == ["export"]:
      words = words[1:]
    if not words:
      continue
    key, equals, value = words[0].partition("=")
    if not equals or len(words) > 1:
      raise SettingsError(f"{where}: {line!r} is not KEY=VALUE; quote spaces")
    name = key.lower()
    if name not in FIELDS or key != key.upper():
      known = ", ".join(field.upper() for field in FIELDS)
      raise SettingsError(f"{where}: unknown key {key}; known are {known}")
    if name in values:
      raise SettingsError(f"{where}: {key} is given twice")
    values[name] = _value(name, value, where)
  return values


def _value(name: str, value: str, where: str) -> str | bool:
  """A value of the file in its type."""
  if FIELDS[name].type is not bool:
    return value
  if value.lower() not in _TRUE + _FALSE:
    raise SettingsError(f"{where}: {name.upper()}={value}; say true or false")
  return value.lower() in _TRUE


def _check(values: Mapping[str, Any]) -> None:
  """Raises for values that Google would refuse after a while."""
  name, kind = values.get("name", ""), values.get("type", "")
  if name and not _NAME.fullmatch(name):
    raise SettingsError(
      f"--name={name}: small letters, digits and hyphens, a letter first, at"
      " most 62"
    )
  if kind and not _TYPE.fullmatch(kind):
    raise SettingsError(
      f"--type={kind} is not GENERATION-SIZE, such as v4-8 or v5litepod-16"
    )
  if _generation(kind) == "v5e":
    raise SettingsError(
      f"--type={kind}: Google calls it v5litepod-{kind.partition('-')[2]}"
    )
  bucket = values.get("bucket", "")
  if bucket and not _BUCKET.fullmatch(bucket):
    raise SettingsError(
      f"--bucket={bucket} is not a bucket's name; leave gs:// and folders away"
    )
  if values.get("spot") and values.get("reserved"):
    raise SettingsError("--spot and --reserved cannot be had together")


def _generation(kind: str) -> str:
  """v4 of v4-32."""
  return kind.partition("-")[0]
