"""A real browser that looks at a page, for tests; no test by itself."""

import contextlib
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver

FLAGS = (
  *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
  *("--no-first-run", "--disable-background-networking", "--disable-sync"),
  *("--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
)


@contextlib.contextmanager
def started(folder):
  """A browser that logs its console and what it asks the network for."""
  chromium, driver = map(shutil.which, ("chromium", "chromedriver"))
  if not (chromium and driver):
    pytest.fail("no browser: apt-get install chromium chromium-driver")
  options = webdriver.ChromeOptions()
  options.binary_location = chromium
  for flag in (*FLAGS, f"--user-data-dir={folder}"):
    options.add_argument(flag)
  options.set_capability(
    "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
  )
  browser = webdriver.Chrome(options, Driver(executable_path=driver))
  browser.execute_cdp_cmd("Network.enable", {})
  yield browser
  browser.quit()


def size(browser, width, height=900, scheme="light"):
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {
      "width": width,
      "height": height,
      "deviceScaleFactor": 1,
      "mobile": width < 500,
    },
  )
  browser.execute_cdp_cmd(
    "Emulation.setEmulatedMedia",
    {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
  )


def wait(condition, seconds=60):
  end = time.monotonic() + seconds
  while not (found := condition()):
    assert time.monotonic() < end, "it did not come"
    time.sleep(0.05)
  return found


def requests(browser, page):
  """What was asked of the network since the last call, but a page itself."""
  sent = [
    entry["message"]
    for entry in browser.get_log("performance")
    if "Network.requestWillBeSent" in entry["message"]
  ]
  assert any(page in m for m in sent)
  return [m for m in sent if '"url":"data:' not in m and page not in m]


def too_wide(browser):
  """What reaches over the right side of the window."""
  wide = browser.execute_script(
    "return document.documentElement.scrollWidth > window.innerWidth"
  )
  outside = browser.execute_script(
    """
    return [...document.querySelectorAll('body *')].filter(e =>
      !e.closest('.scroll') && !e.closest('svg') && !e.matches('.skip') &&
      e.getBoundingClientRect().right > window.innerWidth + 1
    ).map(e => e.outerHTML.slice(0, 200))
    """
  )
  return outside or (["the page"] if wide else [])


def luminance(colour):
  """Relative luminance as WCAG has it, of 'rgb(r, g, b)'."""
  parts = [float(x) / 255 for x in colour[4:-1].split(",")[:3]]
  linear = [
    x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
  ]
  return sum(
    w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
  )


def hard_to_read(browser, least=6):
  """Texts with too little contrast, and whether the page is dark.

  There are `least` different pairs of colours, or nothing was looked at.
  """
  # Opaque, as a browser draws it: the colours of all texts and behind them.
  pairs = browser.execute_script(
    r"""
    const canvas = document.createElement('canvas').getContext('2d', {
      willReadFrequently: true});
    canvas.canvas.width = canvas.canvas.height = 1;
    const drawn = colours => {
      canvas.clearRect(0, 0, 1, 1);
      for (const c of colours) {
        canvas.fillStyle = c;
        canvas.fillRect(0, 0, 1, 1);
      }
      return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)})`;
    };
    const seen = new Map();
    for (const e of document.querySelectorAll('body *')) {
      const isText = n => n.nodeType === 3 && n.data.trim();
      if (![...e.childNodes].some(isText) || e.closest('svg')) continue;
      const behind = [];
      for (let p = e; p; p = p.parentElement)
        behind.unshift(getComputedStyle(p).backgroundColor);
      const back = drawn(behind);
      const text = drawn([back, getComputedStyle(e).color]);
      seen.set(text + back, [text, back, e.outerHTML.slice(0, 120)]);
    }
    return [...seen.values()];
    """
  )
  assert len(pairs) >= least
  low = []
  for text, back, where in pairs:
    light, dark = sorted((luminance(text), luminance(back)), reverse=True)
    # WCAG 2.2, 1.4.3: 4.5 for text.
    if (light + 0.05) / (dark + 0.05) < 4.5:
      low.append((text, back, where))
  return low, luminance(pairs[0][1]) < 0.2
