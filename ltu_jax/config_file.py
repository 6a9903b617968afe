"""Finds the file of --config, and lets config files import each other.

The repository has our configs in configs/, a wheel has the same files in
ltu_jax/configs/. Both are named configs/NAME.py, on the command line and by
`from configs import NAME`; a file of that name in the folder that a command is
started in goes first.
"""

import importlib
import pathlib
import sys
import types

import ml_collections
from absl import flags

_PACKAGE = pathlib.Path(__file__).absolute().parent
_NAME = "configs"

OURS = next(
  (
    folder / _NAME
    for folder in (_PACKAGE, _PACKAGE.parent)
    if (folder / _NAME / "published.py").is_file()
  ),
  _PACKAGE / _NAME,
)
"""The folder of our own configs."""


def find(path: str) -> pathlib.Path:
  """Returns the file that --config names.

  Args:
    path: As given; configs/NAME.py is one of ours where there is no such file.

  Returns:
    An absolute path. Nothing may be there.
  """
  here = pathlib.Path(path).absolute()
  first, *rest = pathlib.Path(path).parts or ("",)
  ours = OURS.joinpath(*rest)
  return ours if first == _NAME and ours.is_file() > here.exists() else here


def share(file: pathlib.Path) -> None:
  """Makes `from configs import NAME` work in a config file.

  NAME is looked for beside the file, where its folder is called configs, then
  wherever Python finds a package of that name, then among ours.

  Args:
    file: The config file, about to be run.
  """
  try:
    package = importlib.import_module(_NAME)
  except ModuleNotFoundError:
    package = sys.modules[_NAME] = types.ModuleType(_NAME)
  beside = [str(file.parent)] if file.parent.name == _NAME else []
  folders = [*beside, *getattr(package, "__path__", ()), str(OURS)]
  package.__path__ = list(dict.fromkeys(folders))


class Parser(flags.ArgumentParser):
  """Reads the value of --config: FILE or FILE:VARIANT.

  Attributes:
    taken: The same with the path of the file that was run; None before.
  """

  def __init__(self, *, runs: flags.ArgumentParser):
    """Makes the parser.

    Args:
      runs: ml_collections' own, which runs a file. By name alone: absl would
        give all flags the one parser that was made first.
    """
    self._runs = runs
    self.taken: str | None = None

  def parse(self, path: str) -> ml_collections.ConfigDict:
    """Runs the file; returns its config."""
    name, colon, variant = path.partition(":")
    file = find(name)
    if not file.exists():
      return self._runs.parse(path)  # fails, with the name that was given
    share(file)
    self.taken = f"{file}{colon}{variant}"
    return self._runs.parse(self.taken)
