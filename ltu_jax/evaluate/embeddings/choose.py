"""Which embedder --embedder means."""

import pathlib
import sys

from ltu_jax.evaluate.embeddings import minilm_files
from ltu_jax.evaluate.embeddings.cache import Cached
from ltu_jax.evaluate.embeddings.embedder import Embedder
from ltu_jax.evaluate.errors import EvaluateError

DEFAULT = "minilm"
HELP = (
  "what compares answers with classes: minilm (all-MiniLM-L6-v2, fetched once),"
  " a sentence-transformers folder, or openai[:MODEL] for an endpoint"
  " (text-embedding-ada-002, as published; key from OPENAI_API_KEY)"
)


def embedder(
  spec: str,
  cache_folder: pathlib.Path | None,
  base_url: str | None = None,
) -> Embedder:
  """Makes an embedder.

  Args:
    spec: "minilm", a sentence-transformers folder, "openai" or "openai:MODEL".
    cache_folder: Where vectors are kept; None keeps nothing.
    base_url: Of the endpoint; None is OPENAI_BASE_URL, or OpenAI's own.

  Raises:
    EvaluateError: There is no such thing, or it cannot be used here.
  """
  found = _embedder(spec, base_url)
  return Cached(found, cache_folder) if cache_folder is not None else found


def _embedder(spec: str, base_url: str | None) -> Embedder:
  """The embedder without a cache. Imports what one needs, not the others."""
  kind, _, model = spec.partition(":")
  if kind == "openai":
    from ltu_jax.evaluate.embeddings import endpoint_embedder

    model = model or endpoint_embedder.MODEL
    return endpoint_embedder.EndpointEmbedder(model, base_url)
  from ltu_jax.evaluate.embeddings import minilm
  from ltu_jax.evaluate.embeddings.sentence_files import UnsupportedError

  if spec == DEFAULT:
    return minilm.BertEmbedder(minilm_files.folder(), minilm_files.TITLE)
  folder = pathlib.Path(spec).expanduser()
  if not folder.is_dir():
    raise EvaluateError(
      f"--embedder={spec}: no such folder. Give {DEFAULT}, a"
      " sentence-transformers folder, or openai[:MODEL]."
    )
  try:
    return minilm.BertEmbedder(folder)
  except UnsupportedError as why:
    from ltu_jax.evaluate.embeddings.sentence_folder import SentenceFolder

    print(
      f"embeddings: through sentence-transformers, as JAX cannot: {why}",
      file=sys.stderr,
    )
    try:
      return SentenceFolder(folder)
    except EvaluateError as error:
      raise EvaluateError(f"{error} (JAX cannot either: {why})") from error
