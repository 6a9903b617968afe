"""JSON from elsewhere: any text, whatever it is, is a value or a ValueError.

Python's parser ends by RecursionError where brackets are nested too deeply, and
makes a hundred bytes of objects out of three bytes of text.
"""

import json
import os
from collections import Counter
from typing import Any

from ltu_jax import bucket_store

MOST_BYTES = 16 << 20
"""Of a file; the index of the largest models' weights has 1 MB."""


def parse(text: str | bytes, unique: bool = False) -> Any:
  """Parses a JSON text.

  Args:
    text: The text, in UTF-8 if it is bytes.
    unique: Whether a key that is there twice is an error.

  Raises:
    ValueError: It is no JSON, or nested too deeply; says where and why.
  """
  try:
    return json.loads(text, object_pairs_hook=_unique if unique else None)
  except RecursionError as error:
    raise ValueError("its brackets are nested too deeply") from error


def read(path: str | os.PathLike, unique: bool = False) -> Any:
  """Reads a JSON file, of this machine or in a bucket.

  Raises:
    OSError: It cannot be read.
    ValueError: It is no JSON, or has over 16 MB.
  """
  with bucket_store.path(path).open("rb") as file:
    text = file.read(MOST_BYTES + 1)
  if len(text) > MOST_BYTES:
    raise ValueError(f"it has over {MOST_BYTES >> 20} MB")
  return parse(text, unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """A dict of pairs with different keys."""
  counts = Counter(key for key, _ in pairs)
  if twice := [key for key, count in counts.items() if count > 1]:
    raise ValueError(f"it has twice: {', '.join(twice)}")
  return dict(pairs)
