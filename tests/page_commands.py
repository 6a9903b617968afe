"""Runs the commands of the pages as they are written, in a scratch folder.

  python -m tests.page_commands docs/answers.md   # what CI runs of a page
  python -m tests.page_commands --all             # all pages, slow blocks too

Each block of commands has a mark before it, which a reader of the Markdown sees
and one of the page does not:

  <!-- run: fast -->                     seconds; CI runs it
  <!-- run: slow -->                     with --all alone
  <!-- run: fast, on 2 devices -->       with so many fake devices
  <!-- run: slow, until "ready at" -->   a server: once it has printed this,
                                         the rest of the page is run beside it
  <!-- not run: needs a TPU -->          never, and why
  <!-- setup:NAME -->                    .ci/run, or the newcomer, runs it

The blocks of a page run one after the other in a folder that looks like the
repository's, with what tests/page_kit.py puts there.
"""

import argparse
import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

from tests import xla_flags

ROOT = pathlib.Path(__file__).parents[1]

_SECONDS = 900
"""Longer than any block takes."""

_MARK = re.compile(
  r"<!-- (?:(?P<setup>setup:\w+)|not run: (?P<reason>.+?)|run: (?P<speed>fast"
  r'|slow)(?:, on (?P<devices>\d+) devices)?(?:, until "(?P<until>[^"]+)")?'
  r") -->\n\n?\Z"
)
_FENCE = re.compile(
  r"^(?P<indent> *)```(?P<language>bash|sh|python)\n(?P<text>.*?)^ *```$",
  re.DOTALL | re.MULTILINE,
)


class PageError(AssertionError):
  """A block without a mark, or one that failed; says where."""


@dataclasses.dataclass(frozen=True)
class Block:
  """Commands of a page, or a program in Python.

  Attributes:
    where: page:line.
    language: bash, sh or python.
    text: As on the page.
    speed: "fast", "slow", or "" where it is not run.
    reason: Why it is not run.
    devices: Fake devices.
    until: What a server prints when it is ready.
  """

  where: str
  language: str
  text: str
  speed: str = ""
  reason: str = ""
  devices: int = 1
  until: str = ""


def blocks(page: pathlib.Path) -> list[Block]:
  """The blocks of a page.

  Raises:
    PageError: One has no mark.
  """
  content = page.read_text(encoding="utf-8")
  found, bare = [], []
  for fence in _FENCE.finditer(content):
    before = content[: fence.start()]
    line = before.count("\n") + 1
    where = f"{page.resolve().relative_to(ROOT)}:{line}"
    mark = _MARK.search(before)
    if mark is None:
      bare.append(f"{where}: has no mark, such as <!-- run: fast -->")
      continue
    found.append(
      Block(
        where,
        fence["language"],
        re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE),
        mark["speed"] or "",
        mark["reason"] or mark["setup"] or "",
        int(mark["devices"] or 1),
        mark["until"] or "",
      )
    )
  if bare:
    raise PageError("\n".join([*bare, f"The marks: {__file__}"]))
  return found


def environment(folder: pathlib.Path, devices: int) -> dict[str, str]:
  """That of a reader: the tests' Python first, and no data sets at home."""
  kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  return kept | {
    "JAX_PLATFORMS": "cpu",
    "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    "TFDS_DATA_DIR": str(folder / "tfds"),
    "XLA_FLAGS": xla_flags.quick(devices),
  }


def _command(block: Block) -> list[str]:
  """What is started."""
  if block.language == "python":
    return [sys.executable, "-c", block.text]
  return ["bash", "-euo", "pipefail", "-c", block.text]


class _Server:
  """A block that does not end by itself; its output goes into a file."""

  def __init__(self, block: Block, folder: pathlib.Path):
    self._block = block
    self._log = folder / "server.log"
    with self._log.open("w") as log:
      self._process = subprocess.Popen(
        # So that the signal reaches the last command and not a shell.
        ["bash", "-euo", "pipefail", "-c", f"exec {block.text.strip()}"],
        cwd=folder,
        env=environment(folder, block.devices),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
      )

  def wait(self) -> None:
    """Returns when it has printed what it was to print."""
    end = time.monotonic() + _SECONDS
    while self._block.until not in (text := self._log.read_text()):
      if self._process.poll() is not None or time.monotonic() > end:
        self.stop()
        raise PageError(f"{self._block.where}: did not get ready:\n{text}")
      time.sleep(0.2)

  def stop(self) -> None:
    """Ends it as a service manager would."""
    self._process.terminate()
    try:
      self._process.wait(60)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()


def run_block(block: Block, folder: pathlib.Path) -> str:
  """Runs one block that ends; returns what it printed.

  Raises:
    PageError: It failed.
  """
  done = subprocess.run(
    _command(block),
    cwd=folder,
    env=environment(folder, block.devices),
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    timeout=_SECONDS,
  )
  if done.returncode:
    raise PageError(
      f"{block.where}: status {done.returncode}\n{block.text}\n"
      f"{done.stdout[-3000:]}"
    )
  return done.stdout


def run_page(
  page: pathlib.Path, folder: pathlib.Path, with_slow: bool = False, tell=print
) -> int:
  """Runs the blocks of a page in their order; returns how many.

  Args:
    page: The page.
    folder: What `page_kit.make` made.
    with_slow: Whether the slow ones are run too.
    tell: Takes a line for each.

  Raises:
    PageError: One failed.
  """
  servers, count = [], 0
  try:
    for block in blocks(page):
      if block.speed != "fast" and not (block.speed and with_slow):
        tell(f"{block.where}: not run: {block.reason or 'slow'}")
        continue
      count += 1
      cpu, clock = _children(), time.monotonic()
      if block.until:
        servers.append(_Server(block, folder))
        servers[-1].wait()
      else:
        run_block(block, folder)
      seconds = time.monotonic() - clock
      tell(f"{block.where}: {seconds:.1f} s, {_children() - cpu:.1f} s of CPU")
  finally:
    for server in servers:
      server.stop()
  return count


def _children() -> float:
  """Seconds of CPU of all child processes that have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def main() -> int:
  """Runs the command line."""
  parser = argparse.ArgumentParser(
    prog="python -m tests.page_commands",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("pages", nargs="*", type=pathlib.Path)
  parser.add_argument("--all", action="store_true", help="slow blocks too")
  args = parser.parse_args()
  os.environ["JAX_PLATFORMS"] = "cpu"
  sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/openaqa")]
  from tests import page_kit

  pages = args.pages or sorted((ROOT / "docs").glob("*.md"))
  failed, start = 0, _children()
  with tempfile.TemporaryDirectory() as scratch:
    print("training a tiny model ...", flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
      run = page_kit.tiny_run(pathlib.Path(scratch))
    for page in pages:
      folder = page_kit.make(pathlib.Path(scratch, "pages", page.stem), run)
      try:
        run_page(page, folder, args.all, functools.partial(print, flush=True))
      except PageError as error:
        print(error)
        failed += 1
  print(f"{len(pages)} pages, {_children() - start:.0f} s of CPU", end="; ")
  print(f"{failed} failed" if failed else "all went well")
  return bool(failed)


if __name__ == "__main__":
  sys.exit(main())
