"""The report in a real browser: whole, quiet, and on a phone."""

import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver

import made_up_results
from ltu_jax.evaluate.page.report import report
from wav_bytes import wav

pytestmark = pytest.mark.slow

FLAGS = (
  *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
  *("--no-first-run", "--disable-background-networking", "--disable-sync"),
  *("--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  chromium, driver = map(shutil.which, ("chromium", "chromedriver"))
  if not (chromium and driver):
    pytest.fail("no browser: apt-get install chromium chromium-driver")
  options = webdriver.ChromeOptions()
  options.binary_location = chromium
  for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
    options.add_argument(flag)
  options.set_capability(
    "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
  )
  browser = webdriver.Chrome(options, Driver(executable_path=driver))
  browser.execute_cdp_cmd("Network.enable", {})
  yield browser
  browser.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """The address of a report of two checkpoints with all sets and sounds."""
  root = tmp_path_factory.mktemp("page")
  folders = []
  for seed, name in enumerate(("stage 4", "stage 3")):
    results = made_up_results.all_sets(name, -0.1 * seed, seed)
    folders.append(made_up_results.write(root / name, results))
  sound = wav(0.5)
  path, *_ = report(folders, root / "report", load_audio=lambda item: sound)
  return path.as_uri()


@pytest.fixture
def tab(browser, page):
  """The page with everything open; at the end its console is empty."""
  browser.get_log("performance")
  browser.get_log("browser")
  browser.get(page)
  browser.execute_script(
    "document.querySelectorAll('details').forEach(d => { d.open = true; })"
  )
  yield browser
  assert browser.get_log("browser") == []


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


def test_sounds_play_and_pictures_are_there(tab):
  count = tab.execute_script("return document.querySelectorAll('audio').length")
  # 12 sets of 10 items, whichever of them two checkpoints share.
  assert count >= 120
  played = tab.execute_async_script(
    """
    const done = arguments[0];
    const all = [...document.querySelectorAll('audio')];
    Promise.all(all.map(a => new Promise(ok => {
      a.muted = true;
      a.onended = () => ok([a.readyState, a.duration, a.error]);
      a.onerror = () => ok([0, 0, a.error.message]);
      a.play().catch(e => ok([0, 0, String(e)]));
    }))).then(done);
    """
  )
  assert len(played) == count
  for state, seconds, error in played:
    # MP3 has whole frames of 36 ms, and a delay of up to two.
    assert state >= 2 and error is None and 0.45 < seconds < 0.65
  pictures = tab.execute_script(
    "return [...document.images].map(i => [i.complete, i.naturalWidth,"
    " i.naturalHeight, i.getBoundingClientRect().width])"
  )
  assert len(pictures) == count
  # 48 frames of 25 ms, one every 10 ms, in half a second.
  assert all(x[:3] == [True, 48, 128] and x[3] > 200 for x in pictures)


def test_nothing_is_fetched(browser, page):
  browser.get("about:blank")
  browser.get_log("performance")
  browser.get(page)
  browser.execute_script("document.querySelector('audio').play()")
  time.sleep(1)
  sent = [
    entry["message"]
    for entry in browser.get_log("performance")
    if "Network.requestWillBeSent" in entry["message"]
  ]
  assert [m for m in sent if '"url":"data:' not in m and page not in m] == []
  assert any(page in m for m in sent)


def test_text_of_items_is_inert(tab):
  with pytest.raises(Exception, match="no such alert"):
    tab.switch_to.alert.dismiss()
  assert tab.execute_script("return document.scripts.length") == 0
  shown = tab.execute_script("return document.body.innerText")
  for hostile in made_up_results.HOSTILE[:4]:
    assert hostile in shown
  assert tab.execute_script(
    "return [...document.images].every(i => i.src.startsWith('data:'))"
  )


def test_no_script_runs_and_nothing_is_loaded_even_if_it_were_there(
  browser, page
):
  browser.get(page)
  browser.get_log("browser")
  browser.execute_script(
    """
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    const image = document.createElement('img');
    image.src = 'https://example.org/x.png';
    const style = document.createElement('p');
    style.setAttribute('style', 'color: red');
    document.body.append(script, image, style);
    """
  )
  said = []

  def refused():
    said.extend(entry["message"] for entry in browser.get_log("browser"))
    return len(said) >= 3

  wait(refused)
  assert all("Content Security Policy" in message for message in said)
  assert browser.execute_script("return window.ran ?? null") is None
  colour = "return getComputedStyle(document.body.lastChild).color"
  assert browser.execute_script(colour) != "rgb(255, 0, 0)"


@pytest.mark.parametrize("width", [320, 400, 768, 1280])
def test_a_page_of_any_width_has_no_sideways_scroll(tab, width):
  size(tab, width)
  wait(lambda: tab.execute_script("return window.innerWidth") == width)
  assert (
    tab.execute_script("return document.documentElement.scrollWidth") <= width
  )
  outside = tab.execute_script(
    """
    return [...document.querySelectorAll('body *')].filter(e =>
      !e.closest('.scroll') && !e.closest('svg') && !e.matches('.skip') &&
      e.getBoundingClientRect().right > window.innerWidth + 1
    ).map(e => e.outerHTML.slice(0, 200))
    """
  )
  assert outside == []


def luminance(colour):
  """Relative luminance as WCAG has it, of 'rgb(r, g, b)'."""
  parts = [float(x) / 255 for x in colour[4:-1].split(",")[:3]]
  linear = [
    x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
  ]
  return sum(
    w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
  )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(tab, scheme):
  size(tab, 1280, scheme=scheme)
  # Opaque, as a browser draws it: the colours of all texts and behind them.
  pairs = tab.execute_script(
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
  assert len(pairs) > 5
  low = []
  for text, back, where in pairs:
    light, dark = sorted((luminance(text), luminance(back)), reverse=True)
    # WCAG 2.2, 1.4.3: 4.5 for text.
    if (light + 0.05) / (dark + 0.05) < 4.5:
      low.append((text, back, where))
  assert low == []
  is_dark = luminance(pairs[0][1]) < 0.2
  assert is_dark == (scheme == "dark")


def test_keys_reach_links_players_and_what_scrolls(tab):
  size(tab, 400)
  reached = tab.execute_script(
    "return [...document.querySelectorAll('a, summary, audio, .scroll')]"
    ".filter(e => e.tabIndex < 0).length"
  )
  assert reached == 0
  # A link to a sound within a part that is closed opens it.
  tab.execute_script(
    "document.querySelectorAll('details').forEach(d => { d.open = false; });"
    "document.querySelector('a[href^=\"#sound-\"]').click()"
  )
  wait(
    lambda: tab.execute_script(
      "return document.querySelector(':target').checkVisibility()"
    )
  )
