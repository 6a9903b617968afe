"""What no case of a fuzz test may do, and how many cases there were.

A case may not run a program, open or change a file outside its folder, take
more memory or time than it should, or end by an error that is not documented.
"""

import collections
import contextlib
import faulthandler
import os
import pathlib
import resource
import signal
import sys
import sysconfig
import tempfile

from hypothesis import given, settings

CASES: collections.Counter[str] = collections.Counter()
"""Target -> cases that ran."""

REFUSED: collections.Counter[str] = collections.Counter()
"""Target -> cases that ended by a documented error."""

TESTS: dict[str, str] = {}
"""Name of a test -> its target."""

_SECONDS = 20
_MEMORY = 1 << 30

_RUNS = (
  *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
  *("os.spawn", "subprocess.Popen", "pty.spawn", "socket.connect"),
)
_CHANGES = (
  *("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"),
  *("os.symlink", "os.truncate", "shutil.rmtree"),
)
# Where modules come from that are imported late, and what libraries look up.
_LIBRARIES = tuple(
  os.path.realpath(path) + os.sep
  for path in (
    *(sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"]),
    *(pathlib.Path(__file__).parents[2], "/proc", "/sys", "/dev", "/usr"),
  )
)


class Hang(Exception):
  """A case that takes too long."""


class Case:
  """One case.

  Attributes:
    folder: The only folder that may be read and written.
  """

  def __init__(self, target: str, folder: pathlib.Path):
    self._target, self.folder = target, folder

  @contextlib.contextmanager
  def refuses(self, *errors: type[Exception], naming: object = ""):
    """Lets one of the errors pass if its message has `naming` in it."""
    try:
      yield
    except errors as error:
      assert str(error).strip(), f"{error!r} says nothing"
      assert str(naming) in str(error), f"{naming} is not in: {error}"
      self.refused()

  def refused(self):
    """Counts a case that ended by a documented error."""
    REFUSED[self._target] += 1


_forbidden: list[str] = []
_folder: str | None = None


def _watch(event: str, args: tuple) -> None:
  """Notes what a case must not do; an audit hook stays for good."""
  if _folder is None:
    return
  if event in _RUNS:
    _forbidden.append(f"{event} {args!r}")
  elif event in _CHANGES and not isinstance(args[0], int):  # opened before
    if not _is_below(args[0], (_folder,)):
      _forbidden.append(f"{event} {args!r}")
  elif event == "open" and isinstance(args[0], str | bytes | os.PathLike):
    writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    allowed = (_folder,) if writes else (_folder, *_LIBRARIES)
    if not _is_below(args[0], allowed):
      _forbidden.append(f"open {args!r}")


def _is_below(path: object, folders: tuple[str, ...]) -> bool:
  path = os.path.abspath(os.fsdecode(path)) if path is not None else ""
  return f"{path}/".startswith(folders)


sys.addaudithook(_watch)


@contextlib.contextmanager
def _limits(memory: int):
  """Within, more than `memory` more is a MemoryError, and time a Hang."""

  def stop(*_):
    raise Hang(f"over {_SECONDS} s")

  before = signal.signal(signal.SIGALRM, stop)
  used = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
  used *= resource.getpagesize()
  soft, hard = resource.getrlimit(resource.RLIMIT_AS)
  resource.setrlimit(resource.RLIMIT_AS, (used + memory, hard))
  signal.setitimer(signal.ITIMER_REAL, _SECONDS)
  # Where a loop in C lets no signal through.
  faulthandler.dump_traceback_later(3 * _SECONDS, exit=True)
  try:
    yield
  finally:
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.signal(signal.SIGALRM, before)


def fuzzed(target: str, *, memory: int = _MEMORY, **strategies):
  """Makes a test of a property `body(case, **drawn)`.

  Args:
    target: The row of the table that cases count for.
    memory: Bytes of address space that a case may take.
    **strategies: What is drawn.
  """

  def decorate(body):
    @settings(settings.get_profile("fuzz"))
    @given(**strategies)
    def test(**drawn):
      global _folder
      CASES[target] += 1
      with tempfile.TemporaryDirectory() as scratch:
        case = Case(target, pathlib.Path(os.path.realpath(scratch)) / "inside")
        case.folder.mkdir()
        _forbidden.clear()
        with _limits(memory):
          _folder = f"{case.folder}/"
          try:
            body(case, **drawn)
          finally:
            _folder = None
        assert not _forbidden, str(_forbidden)
        left = os.listdir(case.folder.parent)
        assert left == ["inside"], f"made outside of its folder: {left}"

    TESTS[body.__name__] = target
    test.__name__ = test.__qualname__ = body.__name__
    test.__doc__, test.__module__ = body.__doc__, body.__module__
    return test

  return decorate
