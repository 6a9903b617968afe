"""Runs the Java programs of pycocoevalcap, within a time limit.

What keeps one from running (no Java, no package, no memory, no end) is a reason
in words for the result: other metrics are not held up by it.
"""

import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence

from ltu_jax.evaluate.errors import EvaluateError

_INSTALL_JAVA = (
  "no `java` in JAVA_HOME or PATH; install one, such as `apt-get install "
  "default-jre-headless`"
)
_INSTALL_PACKAGE = (
  "the package pycocoevalcap is not installed; `pip install "
  "'ltu-jax[captions]'` or `pip install pycocoevalcap`"
)

_VERSION_LIMIT_S = 60
"""Java tells its version at once; on a busy machine within seconds."""


class NotComputedError(EvaluateError):
  """Why a metric has no value here."""


def find() -> str:
  """Returns the path of Java: that of JAVA_HOME if set, or else of PATH.

  Raises:
    NotComputedError: There is none.
  """
  home = os.environ.get("JAVA_HOME")
  places = [str(pathlib.Path(home, "bin"))] if home else []
  found = shutil.which(
    "java", path=os.pathsep.join([*places, os.environ.get("PATH", "")])
  )
  if found is None:
    raise NotComputedError(_INSTALL_JAVA)
  return found


def version() -> int:
  """Returns the number of Java's release: 8 (which says 1.8), 11, 17.

  Raises:
    NotComputedError: There is no Java, or it does not tell.
  """
  text = run(["-version"], limit_s=_VERSION_LIMIT_S, errors_too=True)
  found = re.search(r'version "(?:1\.)?(\d+)', text)
  if not found:
    raise NotComputedError(f"{find()} -version says no version: {text[:200]!r}")
  return int(found[1])


def package(part: str) -> pathlib.Path:
  """Returns a folder of pycocoevalcap, which is not imported.

  Args:
    part: Such as "meteor".

  Raises:
    NotComputedError: The package is not installed, or without that folder.
  """
  spec = importlib.util.find_spec("pycocoevalcap")
  # It has no __init__.py: it may lie in several places.
  for place in (spec and spec.submodule_search_locations) or ():
    if (folder := pathlib.Path(place, part)).is_dir():
      return folder
  raise NotComputedError(_INSTALL_PACKAGE)


def need(folder: pathlib.Path, files: Sequence[str], how: str = "") -> None:
  """Checks that files are there.

  Args:
    folder: Of the package.
    files: Paths in it.
    how: How to get them.

  Raises:
    NotComputedError: Names those that are not.
  """
  missing = [name for name in files if not (folder / name).is_file()]
  if missing:
    names = " and ".join(missing)
    are = "is" if len(missing) == 1 else "are"
    how = how or "reinstall pycocoevalcap"
    raise NotComputedError(f"{names} {are} not in {folder}; {how}")


def run(
  arguments: Sequence[str],
  limit_s: float,
  given: str = "",
  folder: pathlib.Path | None = None,
  memory: str = "",
  errors_too: bool = False,
) -> str:
  """Runs Java to its end.

  Args:
    arguments: For Java, after those of memory and encoding.
    limit_s: It is killed after so many seconds.
    given: Its standard input, as UTF-8.
    folder: To run in.
    memory: The most that its heap may take, such as "2G".
    errors_too: Whether standard error is returned with standard output.

  Returns:
    Its standard output.

  Raises:
    NotComputedError: It is not there, failed, was killed or went on for too
      long.
  """
  # Files and standard input are read in UTF-8 whatever the locale is; Java
  # before 18 would take the locale's encoding.
  command = [find(), "-Dfile.encoding=UTF-8", "-Djava.awt.headless=true"]
  command += [f"-Xmx{memory}"] if memory else []
  try:
    process = subprocess.Popen(
      [*command, *arguments],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT if errors_too else subprocess.PIPE,
      cwd=folder,
      # A group of its own: `java` may be a script that starts another.
      start_new_session=True,
    )
  except OSError as error:
    raise NotComputedError(
      f"{command[0]} does not start: {error.strerror}"
    ) from error
  with process:
    try:
      out, err = process.communicate(given.encode("utf-8", "replace"), limit_s)
    except BaseException as error:
      os.killpg(process.pid, signal.SIGKILL)
      if not isinstance(error, subprocess.TimeoutExpired):
        raise
      raise NotComputedError(
        f"Java did not end within {limit_s:g} s and was killed"
      ) from error
  if process.returncode:
    said = (err or out).decode("utf-8", "replace")
    raise NotComputedError(_why(process.returncode, said, memory))
  return out.decode("utf-8", "replace")


def _why(status: int, said: str, memory: str) -> str:
  """Why Java failed."""
  if status < 0:
    name = signal.Signals(-status).name
    return f"Java was ended by {name}; is there too little memory?"
  if "OutOfMemoryError" in said or "reserve enough space" in said:
    limit = f" within its limit of {memory}" if memory else ""
    return f"Java ran out of memory{limit}"
  lines = [line.strip() for line in said.splitlines() if line.strip()]
  telling = [x for x in lines if re.search(r"Error|Exception", x)] or lines
  # A program's "Error: Could not ..." comes before the exception of its reason.
  what = " ".join(telling[:2])[:300] or "it said nothing"
  return f"Java failed (exit status {status}): {what}"
