"""Fetches Debian packages that hold sounds, without touching the system.

`apt-get download` runs with lists, cache and status of its own, so it needs no
root, installs nothing and pulls no dependency; `dpkg-deb -x` unpacks.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile


@dataclasses.dataclass(frozen=True)
class Package:
  """A Debian package with sounds.

  Attributes:
    name: Its name.
    licence: Under what the sounds in use may be shared.
    credit: Who made them.
    page: Where the project lives.
  """

  name: str
  licence: str
  credit: str
  page: str


# Licences and credits are those of each package's
# usr/share/doc/NAME/copyright, for the files in sounds.tsv.
PACKAGES = (
  Package(
    name="minetest-data",
    licence="CC-BY-SA-3.0 (doors: CC-BY-3.0 and CC0-1.0; tnt: CC0-1.0)",
    credit="celeron55 and the contributors of Minetest Game",
    page="https://github.com/minetest/minetest_game",
  ),
  Package(
    name="hydrogen-data",
    licence="GPL-2+",
    credit="Glen MacArthur, Sebastian Moors (GMRockKit); ArtemioLabs (TR808)",
    page="https://github.com/hydrogen-music/hydrogen",
  ),
  Package(
    name="sound-theme-freedesktop",
    licence="GPL-2+",
    credit="the ALSA developers (spoken channel names)",
    page="https://www.freedesktop.org/wiki/Specifications/sound-theme-spec",
  ),
  Package(
    name="openttd-opensfx",
    licence="CC-BY-SA-3.0",
    credit="the contributors of OpenSFX; a text beside each sound names them",
    page="https://github.com/OpenTTD/OpenSFX",
  ),
)
"""The packages of `sounds.tsv`, about 21 MB together."""


class FetchError(RuntimeError):
  """Packages cannot be had here; the message says why and what else to do."""


_INSTEAD = (
  " Without it, give a folder of your own sounds: sounds_dir=DIR with"
  " DIR/CLASS/CLIP.wav (any format soundfile reads, at least 3 clips a class)."
)


def fetch(cache: str | os.PathLike) -> dict[str, pathlib.Path]:
  """Returns where each package is unpacked, downloading what is missing.

  Args:
    cache: A folder that is reused; made if missing.

  Returns:
    The root of each package's files by package name.

  Raises:
    FetchError: If apt-get or dpkg-deb is missing or fails.
  """
  cache = pathlib.Path(cache).absolute()
  roots = {package.name: cache / package.name for package in PACKAGES}
  missing = [name for name, root in roots.items() if not root.is_dir()]
  if not missing:
    return roots
  for tool in ("apt-get", "dpkg-deb"):
    if shutil.which(tool) is None:
      raise FetchError(
        f"The sounds of openaqa/mini come from Debian packages, and {tool} is"
        f" not on this machine.{_INSTEAD}"
      )
  cache.mkdir(parents=True, exist_ok=True)
  # Beside the cache, so that the renames stay on one file system.
  with tempfile.TemporaryDirectory(dir=cache) as scratch:
    _download(missing, pathlib.Path(scratch))
    for name in missing:
      (archive,) = pathlib.Path(scratch).glob(f"{name}_*.deb")
      unpacked = pathlib.Path(scratch) / name
      _run(["dpkg-deb", "-x", os.fspath(archive), os.fspath(unpacked)])
      unpacked.rename(roots[name])
  return roots


def _download(names: list[str], folder: pathlib.Path) -> None:
  """Downloads packages into `folder`, with apt's state there too."""
  state = folder / "apt"
  (state / "lists" / "partial").mkdir(parents=True)
  (state / "archives" / "partial").mkdir(parents=True)
  (state / "status").touch()
  options = {
    "Dir::State": state,
    "Dir::State::lists": state / "lists",
    "Dir::State::status": state / "status",
    "Dir::Cache": state,
    # As root, apt would switch to a user who may not enter this folder.
    "APT::Sandbox::User": "",
    "Acquire::Languages": "none",
    "Acquire::Retries": 3,
    # Else a machine without a network hears only that no package exists.
    "APT::Update::Error-Mode": "any",
  }
  apt = ["apt-get", "-q"]
  for option, value in options.items():
    apt += ["-o", f"{option}={value}"]
  _run([*apt, "update"])
  _run([*apt, "download", *names], folder)


def _run(command: list[str], folder: pathlib.Path | None = None) -> None:
  """Runs a command; its last words become the error."""
  result = subprocess.run(
    command, cwd=folder, capture_output=True, text=True, check=False
  )
  if result.returncode:
    words = (result.stderr or result.stdout).strip().splitlines()
    # apt's first error has the cause, its last one only that there was one.
    words = [line for line in words if line.startswith("E:")] or words[-1:]
    raise FetchError(
      f"{command[0]} could not fetch the sounds of openaqa/mini"
      f" ({words[0] if words else 'it says nothing'}).{_INSTEAD}"
    )
