"""The commands of docs/tpu.md."""

import pathlib
import re
import string

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "tpu.md"


def env():
  """The page's file of settings."""
  return re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def commands(start):
  """Its commands that begin so, with the settings in place of variables."""
  values = dict(line.split("=", 1) for line in env().splitlines())
  blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
  lines = "".join(blocks).replace("\\\n", " ").splitlines()
  found = [line for line in lines if line.startswith(f"{start} ")]
  return [string.Template(line).substitute(values) for line in found]
