"""The pages of statistics and of clips in a real browser."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import chromium
from chromium import size, wait
from ltu_jax.aqa.quality import stats_report
from ltu_jax.aqa.quality.browse import browse
from made_up_answers import OPEN, qa, write
from wav_bytes import wav

pytestmark = pytest.mark.slow

HOSTILE = (
  "<script>window.ran = 1</script>",
  "</style></script><img src=x onerror='window.ran = 2'>",
  "\"' onmouseover='window.ran = 3' autofocus onfocus='window.ran = 4' x=\"",
  "{{ 7 * 7 }} &lt;b&gt; &amp; javascript:window.ran=5",
)

TASKS = (OPEN, "temporal_single", HOSTILE[0])
SOURCES = ("as_strong_train", "clotho", HOSTILE[2])


def rows():
  """Nine clips with a question of each task."""
  return [
    qa(
      f"{HOSTILE[1] if n == 2 else 'What is heard'} of {n}, {what}?",
      ("Unclear, really." if n % 3 == 1 else HOSTILE[3]) + " word" * (9 * n),
      audio_id=f"{HOSTILE[2][:20] if n == 8 else n}.wav",
      dataset=SOURCES[n % 3],
      task=task,
    )
    for n in range(9)
    for what, task in enumerate(TASKS)
  ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  with chromium.started(tmp_path_factory.mktemp("browser")) as browser:
    yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
  """Addresses of the page of clips, and of that of statistics."""
  root = tmp_path_factory.mktemp("pages")
  for n in range(8):
    (root / f"{n}.wav").write_bytes(wav(0.5))
  records = root / "records.jsonl"
  records.write_text(
    '{"id": "1", "captions": ["A <b>dog</b> barks%s."]}\n' % (" again" * 90)
  )
  file = write(root / "questions.json", rows())
  page = browse(file, root / "page.html", [root], records)
  stats, *_ = stats_report.report([file], root / "stats")
  return {"browse": page.as_uri(), "stats": stats.as_uri()}


@pytest.fixture(params=["browse", "stats"])
def tab(browser, pages, request):
  """Either page; at the end its console is empty, and nothing hostile ran."""
  yield from opened(browser, pages[request.param])


@pytest.fixture
def clips(browser, pages):
  """The page of clips."""
  yield from opened(browser, pages["browse"])


def opened(browser, address):
  size(browser, 1280)
  for log in ("browser", "performance"):
    browser.get_log(log)
  browser.get(address)
  yield browser
  assert browser.get_log("browser") == []
  assert browser.execute_script("return window.ran ?? null") is None


def test_text_is_inert_and_nothing_is_fetched(tab, pages):
  tab.execute_script(
    "document.querySelectorAll('bdi, li, td, option').forEach(e =>"
    " e.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})));"
    "document.querySelector('audio')?.play()"
  )
  shown = tab.execute_script("return document.body.innerText")
  is_browse = tab.current_url == pages["browse"]
  for hostile in HOSTILE if is_browse else HOSTILE[:3]:
    assert hostile in shown
  assert chromium.requests(tab, tab.current_url) == []
  scripts = tab.execute_script("return document.scripts.length")
  assert scripts == (1 if is_browse else 0)


def test_another_script_does_not_run(browser, pages):
  browser.get(pages["browse"])
  browser.get_log("browser")
  browser.execute_script(
    "const s = document.createElement('script');"
    "s.textContent = 'window.ran = true';"
    "const i = document.createElement('img');"
    "i.src = 'https://example.org/x.png';"
    "document.body.append(s, i)"
  )
  said = []

  def refused():
    said.extend(entry["message"] for entry in browser.get_log("browser"))
    return len(said) >= 2

  wait(refused)
  assert all("Content Security Policy" in message for message in said)
  assert browser.execute_script("return window.ran ?? null") is None


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_a_page_of_any_width_has_no_sideways_scroll(tab, width):
  size(tab, width)
  wait(lambda: tab.execute_script("return window.innerWidth") == width)
  assert chromium.too_wide(tab) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(tab, scheme):
  size(tab, 1280, scheme=scheme)
  low, is_dark = chromium.hard_to_read(tab, least=3)
  assert low == [] and is_dark == (scheme == "dark")
  # What is drawn stands out, too; WCAG 2.2, 1.4.11: 3 for graphics.
  colours = tab.execute_script(
    "return [...document.querySelectorAll('.c0, .c1')]"
    ".map(e => getComputedStyle(e).color)"
  )
  back = chromium.luminance(
    tab.execute_script("return getComputedStyle(document.body).backgroundColor")
  )
  for colour in set(colours):
    light, dark = sorted((chromium.luminance(colour), back), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_plots_have_their_marks_within_them(browser, pages):
  browser.get(pages["stats"])
  for width in (400, 1280):
    size(browser, width)
    boxes = browser.execute_script(
      """
      return [...document.querySelectorAll('.plot > svg')].map(svg => {
        const box = svg.getBoundingClientRect();
        const texts = [...svg.querySelectorAll('text')].map(t =>
          t.getBoundingClientRect());
        const lines = [...svg.querySelectorAll('polyline, polygon')].map(l =>
          l.getBoundingClientRect());
        const within = r => r.left >= box.left - 1 && r.right <= box.right + 1
          && r.top >= box.top - 1 && r.bottom <= box.bottom + 1;
        const apart = texts.every((a, i) => texts.slice(i + 1).every(b =>
          a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 3
          || b.bottom <= a.top + 3));
        return [texts.length, lines.length, texts.every(within),
          lines.every(within), apart, box.width > 250];
      })
      """
    )
    assert len(boxes) == 4
    for texts, lines, *right in boxes:
      assert texts >= 5 and lines >= 1 and all(right)


def shown(tab):
  """Questions and clips that can be seen."""
  return tab.execute_script(
    "const seen = s => [...document.querySelectorAll(s)].filter(e =>"
    " e.checkVisibility()).length; return [seen('.question'), seen('.clip')]"
  )


def test_the_filter_shows_what_is_wanted(clips):

  def choose(name, value):
    options = Select(clips.find_element(By.NAME, name)).options
    # Its own search for a value does not bear quotes.
    next(o for o in options if o.get_attribute("value") == value).click()

  assert shown(clips) == [27, 9]
  for task in TASKS:
    choose("task", task)
    assert shown(clips) == [9, 9]
  choose("source", SOURCES[2])
  assert shown(clips) == [3, 3]
  assert (
    "questions shown: 3, clips: 3" in clips.find_element(By.ID, "shown").text
  )
  clips.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
  wait(lambda: shown(clips) == [27, 9])
  # Of every third clip two questions are open-ended, with this answer.
  choose("flag", "unanswerable")
  assert shown(clips) == [6, 3]
  choose("flag", "*")
  flagged, _ = shown(clips)
  choose("flag", "-")
  assert shown(clips)[0] == 27 - flagged
  choose("flag", "")
  clips.find_element(By.NAME, "text").send_keys("OF 7,")
  assert shown(clips) == [3, 1]


def test_the_page_can_be_used_by_keys(clips):
  reached = []
  for _ in range(8):
    active = clips.switch_to.active_element
    active.send_keys(Keys.TAB)
    reached.append(
      clips.execute_script(
        "const e = document.activeElement;"
        "return e.name || e.type || e.tagName || ''"
      )
    )
  wanted = ["task", "source", "flag", "text", "reset", "AUDIO"]
  assert [x for x in reached if x in wanted][:6] == wanted
  clips.find_element(By.NAME, "text").send_keys("of 3,", Keys.ENTER)
  # Enter sends the form nowhere.
  assert shown(clips) == [3, 1] and clips.current_url.endswith("page.html")


def test_players_play_what_the_model_hears(clips):
  played = clips.execute_async_script(
    """
    const done = arguments[0];
    Promise.all([...document.querySelectorAll('audio')].map(a =>
      new Promise(ok => {
        a.muted = true;
        a.onended = () => ok(a.duration);
        a.onerror = () => ok(0);
        a.play().catch(() => ok(0));
      }))).then(done);
    """
  )
  # MP3 has whole frames of 36 ms, and a delay of up to two.
  assert len(played) == 8 and all(0.45 < x < 0.65 for x in played)
  pictures = clips.execute_script(
    "return [...document.images].map(i => [i.naturalWidth, i.naturalHeight])"
  )
  # 48 frames of 25 ms, one every 10 ms, in half a second.
  assert pictures == [[48, 128]] * 8


def test_without_a_script_all_is_shown(browser, pages):
  disable = "Emulation.setScriptExecutionDisabled"
  browser.execute_cdp_cmd(disable, {"value": True})
  try:
    browser.get(pages["browse"])
    questions = browser.find_elements(By.CSS_SELECTOR, ".question")
    assert len(questions) == 27 and all(q.is_displayed() for q in questions)
    assert not browser.find_element(By.ID, "filter").is_displayed()
  finally:
    browser.execute_cdp_cmd(disable, {"value": False})
