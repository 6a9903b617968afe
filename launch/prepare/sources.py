"""Packs the code that builds data sets, for machines that install it.

A wheel without dependencies: on a machine that prepares data those come from
requirements.txt, and what setup.cfg asks for is the environment that trains.
"""

import base64
import hashlib
import pathlib
import zipfile

_PACKAGES = ("ltu_jax", "tfds_builders")
_NAME, _VERSION = "ltu_jax_sources", "0"
_INFO = f"{_NAME}-{_VERSION}.dist-info"
_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip file can say: equal code gives an equal file."""

_METADATA = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {_VERSION}\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write(root: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Writes the wheel.

  Args:
    root: Folder of the repository.
    folder: Where to; made if it is not there.

  Returns:
    The file.
  """
  contents = {
    path.relative_to(root).as_posix(): path.read_bytes()
    for package in _PACKAGES
    for path in sorted((root / package).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
  }
  contents[f"{_INFO}/METADATA"] = _METADATA.encode()
  contents[f"{_INFO}/WHEEL"] = _WHEEL.encode()
  record = f"{_INFO}/RECORD"
  lines = [f"{name},{_digest(data)}" for name, data in contents.items()]
  contents[record] = "\n".join([*lines, f"{record},,\n"]).encode()
  folder.mkdir(parents=True, exist_ok=True)
  file = folder / f"{_NAME}-{_VERSION}-py3-none-any.whl"
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
    for name, data in contents.items():
      wheel.writestr(zipfile.ZipInfo(name, _TIME), data)
  return file


def _digest(data: bytes) -> str:
  """A line's end in RECORD: hash and size."""
  digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
  return f"sha256={digest.rstrip(b'=').decode()},{len(data)}"
