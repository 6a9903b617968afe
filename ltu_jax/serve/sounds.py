"""Names and bytes of the sounds that clients send."""

import base64
import binascii
import re

from ltu_jax.serve.errors import printable


def file_name(text: str | None) -> str:
  """The last part of a file's name, fit for a message."""
  last = re.split(r"[/\\]", text or "")[-1].strip()
  return printable(last) or "the sound"


def from_base64(text: str) -> bytes:
  """Bytes of a base64 text.

  Raises:
    ValueError: It is none.
  """
  try:
    return base64.b64decode(text, validate=True)
  except (binascii.Error, ValueError) as error:
    raise ValueError(f"this is no base64: {error}") from error
