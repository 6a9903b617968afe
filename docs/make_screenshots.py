"""Takes the pictures of the page that README.md shows.

  python docs/make_screenshots.py --workdir=runs/quickstart clip.wav

Needs chromium and chromedriver (apt-get install chromium chromium-driver) and
the extras `demo` and `test`. Writes page.png, page_error.png and
page_narrow.png beside itself.
"""

import argparse
import contextlib
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

_HERE = pathlib.Path(__file__).parent

_WIDE, _NARROW = (1280, 900), (390, 844)
"""Pixels: a laptop's window, a phone."""

_FLAGS = (
  *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
  *("--no-first-run", "--disable-background-networking", "--disable-sync"),
  *("--disable-component-update", "--hide-scrollbars"),
)

_SECONDS = 300


def main() -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir")
  source.add_argument("--bundle")
  parser.add_argument("--question", default="What can be heard?")
  parser.add_argument(
    "--alone",
    default="Describe the audio in one sentence.",
    help="a second question, which does not follow up the first one",
  )
  parser.add_argument("--out", type=pathlib.Path, default=_HERE)
  parser.add_argument("clip", type=pathlib.Path)
  args = parser.parse_args()
  model = f"--workdir={args.workdir}" if args.workdir else ""
  with (
    tempfile.TemporaryDirectory() as folder,
    _server(model or f"--bundle={args.bundle}") as address,
    _browser(folder) as browser,
  ):
    _open(browser, address, _WIDE)
    _upload(browser, args.clip)
    _ask(browser, args.question)
    _find(browser, "#ltu-follow-up input").click()
    _ask(browser, args.alone)
    _save(browser, args.out / "page.png")

    _open(browser, address, _WIDE)
    broken = pathlib.Path(folder, "broken.wav")
    broken.write_text("this is no sound")
    _upload(browser, broken)
    _ask(browser, args.question, done="There is no sound")
    _save(browser, args.out / "page_error.png")

    _open(browser, address, _NARROW)
    _upload(browser, args.clip)
    _ask(browser, args.question)
    height = browser.execute_script("return document.body.scrollHeight")
    _resize(browser, (_NARROW[0], height))
    _save(browser, args.out / "page_narrow.png")


@contextlib.contextmanager
def _server(model: str):
  """Runs the server; gives its address."""
  command = [sys.executable, "-m", "ltu_jax.serve", model, "--port=0"]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
    try:
      for line in server.stdout:
        if "ready at " in line:
          yield line.split("ready at ")[1].strip()
          break
      else:
        sys.exit("the server did not start")
    finally:
      server.terminate()


@contextlib.contextmanager
def _browser(folder: str):
  """Starts a browser that is new to everything."""
  options = webdriver.ChromeOptions()
  options.binary_location = shutil.which("chromium")
  for flag in (*_FLAGS, f"--user-data-dir={folder}/browser"):
    options.add_argument(flag)
  driver = Service(executable_path=shutil.which("chromedriver"))
  browser = webdriver.Chrome(options, driver)
  try:
    yield browser
  finally:
    browser.quit()


def _open(browser, address: str, size: tuple[int, int]) -> None:
  """Loads the page at a size."""
  _resize(browser, size)
  browser.get(address)
  _wait(lambda: _find(browser, "#ltu-audio input[type=file]"))


def _resize(browser, size: tuple[int, int]) -> None:
  """Sets the size of what is seen, in pixels."""
  width, height = size
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {
      "width": width,
      "height": height,
      "deviceScaleFactor": 1,
      "mobile": width < 500,
    },
  )


def _upload(browser, file: pathlib.Path) -> None:
  """Gives the page a sound, and waits until it is heard or refused."""
  _find(browser, "#ltu-audio input[type=file]").send_keys(str(file.absolute()))
  _wait(lambda: file.name in _text(browser, "#ltu-note"))
  time.sleep(1)


def _ask(browser, question: str, done: str = "tokens in") -> None:
  """Asks, and waits for the end."""
  _find(browser, "#ltu-question textarea").send_keys(question)
  before = len(browser.find_elements(By.CSS_SELECTOR, "[data-testid=bot]"))
  _find(browser, "#ltu-ask").click()
  if before:
    selector = "[data-testid=bot]"
    _wait(
      lambda: len(browser.find_elements(By.CSS_SELECTOR, selector)) > before
    )
  _wait(lambda: done in _text(browser, "#ltu-status"))


def _save(browser, file: pathlib.Path) -> None:
  """Saves what is seen."""
  browser.execute_script(
    "document.activeElement.blur(); window.scrollTo(0, 0);"
  )
  time.sleep(1)
  image = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
  image.quantize(256).save(file, optimize=True)
  print(file, file.stat().st_size)


def _find(browser, css: str):
  """An element, None if it is not there."""
  found = browser.find_elements(By.CSS_SELECTOR, css)
  return found[0] if found else None


def _text(browser, css: str) -> str:
  """The text of an element."""
  found = _find(browser, css)
  return found.text if found else ""


def _wait(condition) -> None:
  """Waits until something is so."""
  end = time.monotonic() + _SECONDS
  while not condition():
    if time.monotonic() > end:
      sys.exit("the page did not get there")
    time.sleep(0.1)


if __name__ == "__main__":
  main()
