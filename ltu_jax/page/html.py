"""Renders a page: templates, with a style of their own and a strict policy.

Every text is escaped. Styles and scripts are those of the templates' folder
alone, allowed by their hashes: what comes with the data cannot run, and nothing
is loaded.
"""

import base64
import hashlib
import os
import pathlib
import re
from typing import Any

_TEMPLATES = pathlib.Path(__file__).parent / "templates"

# Not allowed in HTML, whatever stands for them; answers may have them.
_NOT_HTML = re.compile(
  "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


class PageError(ValueError):
  """A page that cannot be made; says what to do."""


def render(templates: pathlib.Path, extra: str, **values: Any) -> bytes:
  """Returns a page.

  Args:
    templates: Folder with page.html, which extends base.html, and style.css,
      which follows base.css; script.js, where there is one, is the page's only
      script.
    extra: The extra of this package that brings Jinja, for the error.
    **values: What page.html makes use of; all text in it is escaped.

  Raises:
    PageError: Jinja is not installed.
  """
  try:
    import jinja2
    import markupsafe
  except ImportError as error:
    raise PageError(
      f"A page needs Jinja: pip install 'ltu-jax[{extra}]'."
    ) from error
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader([templates, _TEMPLATES]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_clean,
  )
  style = _read(_TEMPLATES / "base.css") + _read(templates / "style.css")
  path = templates / "script.js"
  script = _read(path) if path.exists() else ""
  text = environment.get_template("page.html").render(
    # Not escaped: they are ours.
    style=markupsafe.Markup(style),
    script=markupsafe.Markup(script),
    policy=_policy(style, script),
    **values,
  )
  return text.encode("utf-8")


def write(path: pathlib.Path, data: bytes) -> pathlib.Path:
  """Writes a file that is whole or not there; makes its folder."""
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(path.name + ".part")
  part.write_bytes(data)
  os.replace(part, path)
  return path


def _read(path: pathlib.Path) -> str:
  """A file of ours."""
  return path.read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
  """What the page may make use of."""
  scripts = f" script-src '{_hash(script)}';" if script else ""
  return (
    f"default-src 'none'; style-src '{_hash(style)}';{scripts} img-src data:;"
    " media-src data:; base-uri 'none'; form-action 'none'"
  )


def _hash(text: str) -> str:
  """By which a policy allows a text."""
  digest = hashlib.sha256(text.encode()).digest()
  return f"sha256-{base64.b64encode(digest).decode()}"


def _clean(value: Any) -> Any:
  """Replaces what HTML must not have in it."""
  # Not in Markup, which is a text of another type, and already clean.
  return _NOT_HTML.sub("\ufffd", value) if type(value) is str else value
