"""The report in a real browser: whole, quiet, and on a phone."""

import time

import pytest

import chromium
import made_up_results
from chromium import size, wait
from ltu_jax.evaluate.page.report import report
from wav_bytes import wav

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  with chromium.started(tmp_path_factory.mktemp("browser")) as browser:
    yield browser


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
  assert chromium.requests(browser, page) == []


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
  assert chromium.too_wide(tab) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(tab, scheme):
  size(tab, 1280, scheme=scheme)
  low, is_dark = chromium.hard_to_read(tab)
  assert low == []
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
