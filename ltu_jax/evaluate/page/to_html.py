"""The page: templates, with a style of their own and nothing from elsewhere."""

import base64
import hashlib
import pathlib
import re
from typing import Any

from ltu_jax.evaluate.errors import EvaluateError

_TEMPLATES = pathlib.Path(__file__).parent / "templates"

# Not allowed in HTML, whatever stands for them; answers may have them.
_NOT_HTML = re.compile(
  "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)

_POLICY = (
  "default-src 'none'; style-src 'sha256-{}'; img-src data:; media-src data:;"
  " base-uri 'none'; form-action 'none'"
)


def render(**values: Any) -> bytes:
  """Returns the page.

  Args:
    **values: What page.html makes use of; all text in it is escaped.

  Raises:
    EvaluateError: Jinja is not installed.
  """
  try:
    import jinja2
    import markupsafe
  except ImportError as error:
    raise EvaluateError(
      "A report needs Jinja: pip install 'ltu-jax[evaluate]'."
    ) from error
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_clean,
  )
  style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
  digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
  text = environment.get_template("page.html").render(
    # Not escaped: it is ours.
    style=markupsafe.Markup(style),
    policy=_POLICY.format(digest),
    **values,
  )
  return text.encode("utf-8")


def _clean(value: Any) -> Any:
  """Replaces what HTML must not have in it."""
  # Not in Markup, which is a text of another type, and already clean.
  return _NOT_HTML.sub("\ufffd", value) if type(value) is str else value
