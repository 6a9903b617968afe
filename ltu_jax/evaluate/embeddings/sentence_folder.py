"""Any sentence-transformers folder, through the package of that name."""

import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np

from ltu_jax.evaluate.embeddings.embedder import unit
from ltu_jax.evaluate.errors import EvaluateError

_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin")


class SentenceFolder:
  """A folder that `minilm.BertEmbedder` cannot do.

  Attributes:
    name: FOLDER@HASH, the hash over its files of weights, texts and JSON.
  """

  def __init__(self, folder: pathlib.Path):
    """Loads a model; nothing is fetched, and no code of the folder's runs.

    Raises:
      EvaluateError: The package is missing, or cannot load the folder.
    """
    try:
      import sentence_transformers
    except ImportError as error:
      raise EvaluateError(
        f"{folder}: needs the package sentence-transformers, which cannot be"
        f" imported ({error}): pip install sentence-transformers"
      ) from error
    try:
      self._model = sentence_transformers.SentenceTransformer(
        str(folder), local_files_only=True, trust_remote_code=False
      )
    except (OSError, ValueError, LookupError, ImportError, TypeError) as error:
      # Its messages have paragraphs; the first line says what is wrong.
      why = (str(error).strip() or type(error).__name__).splitlines()[0]
      raise EvaluateError(
        f"{folder}: sentence-transformers cannot load it: {why}"
      ) from error
    self.name = f"{folder.resolve().name}@{_hash(folder)[:16]}"

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Embeds texts; see Embedder."""
    if not len(texts):
      return np.zeros((0, 0), np.float32)
    vectors = self._model.encode(
      list(texts), convert_to_numpy=True, show_progress_bar=False
    )
    return unit(vectors, self.name)


def _hash(folder: pathlib.Path) -> str:
  """SHA-256 over names and contents of the files that matter."""
  digest = hashlib.sha256()
  for path in sorted(folder.rglob("*")):
    if path.suffix in _SUFFIXES and path.is_file():
      with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
      name = path.relative_to(folder).as_posix()
      digest.update(f"{name} {content}\n".encode())
  return digest.hexdigest()
