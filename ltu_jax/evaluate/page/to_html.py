"""The page of a report: its templates, in the room that all pages share."""

import pathlib
from typing import Any

from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.page import html

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


def render(**values: Any) -> bytes:
  """Returns the page.

  Args:
    **values: What page.html makes use of; all text in it is escaped.

  Raises:
    EvaluateError: Jinja is not installed.
  """
  try:
    return html.render(_TEMPLATES, "evaluate", **values)
  except html.PageError as error:
    raise EvaluateError(str(error)) from error
