"""What local reasoning models write before they answer."""

import re

_THOUGHTS = re.compile(r"\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S)


def without(text: str) -> str:
  """Returns a model's words without thoughts that they begin with."""
  found = _THOUGHTS.match(text)
  return text[found.end() :] if found else text
