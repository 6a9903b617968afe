"""The page in a real browser, as its users see it."""

import functools
import io
import os
import pathlib
import shutil
import time

import numpy as np
import page_server
import pytest
import soundfile
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ltu_jax import sampling
from ltu_jax.answers.answerer import Question
from ltu_jax.audio.heard import hear
from ltu_jax.serve import gradio_env

pytestmark = pytest.mark.slow

FLAGS = (
  *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
  *("--no-first-run", "--disable-background-networking", "--disable-sync"),
  *("--disable-component-update", "--window-size=1280,900"),
  # A microphone that beeps every half second, and that may be used.
  *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)

HARMLESS = ("Method not implemented.",)
"""Gradio's own audio player says so of what it does not have."""

LEFT = ("BodyStreamBuffer was aborted", "Connection errored out")
"""What Gradio says of a page that is left in the middle of an answer."""


@pytest.fixture(scope="module")
def service():
  with page_server.answering() as service:
    yield service


@pytest.fixture(scope="module")
def address(service):
  with page_server.serving(service, most_bytes=2_000_000) as address:
    yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  chromium, driver = map(shutil.which, ("chromium", "chromedriver"))
  if not (chromium and driver):
    pytest.fail("no browser: apt-get install chromium chromium-driver")
  options = webdriver.ChromeOptions()
  options.binary_location = chromium
  for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
    options.add_argument(flag)
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  browser = webdriver.Chrome(options, Driver(executable_path=driver))
  yield browser
  browser.quit()


@pytest.fixture
def tab(browser, address):
  """The page, newly loaded; at the end its console has no errors."""
  browser.get(address)
  wait(lambda: one(browser, "#ltu-audio input[type=file]"))
  wait(lambda: one(browser, "#ltu-ask"))
  browser.get_log("browser")
  yield browser
  said = [entry["message"] for entry in browser.get_log("browser")]
  assert [m for m in said if not any(h in m for h in HARMLESS)] == []


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
  """Two sounds; the first is stereo at 44.1 kHz, and longer than is heard."""
  folder = tmp_path_factory.mktemp("clips")
  noise = np.random.default_rng(0).normal(size=(44100 * 11, 2))
  soundfile.write(folder / "noise.wav", noise * 0.05, 44100)
  tone = 0.3 * np.sin(np.arange(16000) / 5)
  soundfile.write(folder / "tone.wav", tone, 16000)
  return folder


def one(browser, css):
  """An element, None if it is not there."""
  found = browser.find_elements(By.CSS_SELECTOR, css)
  return found[0] if found else None


def text(browser, css):
  return browser.execute_script(
    "return document.querySelector(arguments[0])?.textContent.trim() ?? ''", css
  )


def wait(condition, seconds=60):
  end = time.monotonic() + seconds
  while not (found := condition()):
    assert time.monotonic() < end, "it did not come"
    time.sleep(0.02)
  return found


def upload(tab, path):
  if clear := one(tab, "#ltu-audio button[aria-label=Clear]"):
    clear.click()
  wait(lambda: one(tab, "#ltu-audio input[type=file]")).send_keys(str(path))
  wait(lambda: path.name in text(tab, "#ltu-note"))


def messages(tab, who):
  return tab.execute_script(
    "return [...document.querySelectorAll('#ltu-chat [data-testid=' +"
    " arguments[0] + '] .message-content')].map(e => e.textContent)",
    who,
  )


def longest_answer(tab, tokens):
  if not one(tab, "#ltu-longest input"):
    tab.find_element(By.XPATH, "//button[contains(., 'Settings')]").click()
  box = wait(lambda: one(tab, "#ltu-longest input"))
  tab.execute_script("arguments[0].select()", box)
  box.send_keys(str(tokens))


def ask(tab, question):
  one(tab, "#ltu-question textarea").send_keys(question)
  one(tab, "#ltu-ask").click()


def ended(tab):
  return wait(lambda: "tokens in" in text(tab, "#ltu-status"))


@functools.cache
def other_answerer():
  return page_server.answerer()


def alone(clip, question, tokens, before=()):
  """What the model says when it is asked without a page."""
  config = sampling.SamplingConfig(
    *(sampling.PUBLISHED.temperature, sampling.PUBLISHED.top_p),
    *(sampling.PUBLISHED.top_k, sampling.PUBLISHED.repetition_penalty),
    max_new_tokens=tokens,
  )
  pcm = hear(clip, "clip").clip
  *_, last = other_answerer().stream(Question(question, pcm, before, config))
  return last.answer.text


def test_a_clip_is_shown_and_a_dialogue_about_it_grows(tab, clips):
  clip = clips / "noise.wav"
  upload(tab, clip)
  assert text(tab, "#ltu-note") == (
    "noise.wav: 11.00 s; resampled from 44100 Hz; first of 2 channels taken;"
    " only the first 10.24 s of 11.0 s are heard."
  )
  picture = wait(lambda: one(tab, "#ltu-picture img"))
  wait(lambda: picture.get_property("naturalWidth") == 864)
  assert picture.is_displayed() and picture.rect["width"] > 400
  longest_answer(tab, 96)
  # Every state that the page ever shows, not only those that a poll meets.
  tab.execute_script(
    "window.seen = []; new MutationObserver(() => { const last ="
    " [...document.querySelectorAll('#ltu-chat [data-testid=bot]"
    " .message-content')].at(-1)?.textContent; if (last && last !=="
    " window.seen.at(-1)) window.seen.push(last); }).observe("
    "document.querySelector('#ltu-chat'), {subtree: true, childList: true,"
    " characterData: true});"
  )
  ask(tab, "What can be heard?")
  ended(tab)
  first = alone(clip, "What can be heard?", 96)
  wait(lambda: messages(tab, "bot") == [first])
  seen = [s for s in tab.execute_script("return window.seen") if s != "…"]
  assert len({len(s) for s in seen}) > 2
  assert all(first.startswith(s) for s in seen)
  assert "cut at the longest answer" in text(tab, "#ltu-status")

  assert one(tab, "#ltu-question textarea").get_property("value") == ""
  ask(tab, "And then?")
  wait(lambda: len(messages(tab, "bot")) == 2)
  ended(tab)
  second = alone(clip, "And then?", 96, (("What can be heard?", first),))
  wait(lambda: messages(tab, "bot") == [first, second])
  one(tab, "#ltu-follow-up input").click()
  ask(tab, "And then?")
  wait(lambda: len(messages(tab, "bot")) == 3)
  ended(tab)
  single = alone(clip, "And then?", 96)
  assert second != single
  wait(lambda: messages(tab, "bot") == [first, second, single])
  asked = ["What can be heard?", "And then?", "And then?"]
  assert messages(tab, "user") == asked

  upload(tab, clips / "tone.wav")
  wait(lambda: messages(tab, "bot") == [])
  assert text(tab, "#ltu-note") == "tone.wav: 1.00 s."
  ask(tab, "And then?")
  ended(tab)
  want = alone(clips / "tone.wav", "And then?", 96)
  wait(lambda: messages(tab, "bot") == [want])
  one(tab, "#ltu-new").click()
  wait(lambda: messages(tab, "bot") == [] and not text(tab, "#ltu-status"))


def test_an_example_fills_the_question_box(tab):
  one(tab, "#ltu-examples button").click()
  box = one(tab, "#ltu-question textarea")
  wait(lambda: box.get_property("value") == page_server.EXAMPLES[0])


def test_mistakes_are_said_in_words(tab, clips, tmp_path):
  ask(tab, "What?")
  wait(lambda: "There is no sound; upload" in text(tab, "#ltu-status"))
  assert one(tab, "#ltu-question textarea").get_property("value") == "What?"
  bad = tmp_path / "bad.wav"
  bad.write_text("this is text")
  upload(tab, bad)
  assert text(tab, "#ltu-note [role=alert]").startswith(
    "bad.wav: cannot be decoded, it is damaged or not audio"
  )
  assert one(tab, "#ltu-picture img") is None
  upload(tab, clips / "tone.wav")
  one(tab, "#ltu-question textarea").send_keys(Keys.BACKSPACE * len("What?"))
  one(tab, "#ltu-ask").click()
  wait(lambda: "The question is empty" in text(tab, "#ltu-status"))


def slowly(service, monkeypatch):
  """Has answers take half a minute: a busy browser is slower than the model."""
  step = service._answerer.step

  def wait_and_step(steps):
    time.sleep(0.1)
    return step(steps)

  monkeypatch.setattr(service._answerer, "step", wait_and_step)


def test_an_answer_can_be_stopped(tab, clips, service, monkeypatch):
  slowly(service, monkeypatch)
  upload(tab, clips / "tone.wav")
  longest_answer(tab, 100_000)
  ask(tab, "What?")
  wait(lambda: any(len(m) > 4 for m in messages(tab, "bot")))
  assert service.num_open == 1
  wait(one(tab, "#ltu-stop").is_enabled)
  one(tab, "#ltu-stop").click()
  wait(lambda: "Stopped." in text(tab, "#ltu-status"))
  wait(lambda: service.num_open == 0)
  (said,) = messages(tab, "bot")
  assert len(said) > 4
  time.sleep(1)
  assert messages(tab, "bot") == [said]
  wait(lambda: one(tab, "#ltu-ask").is_enabled())


def test_a_recording_is_heard(tab):
  one(tab, "#ltu-audio button[aria-label='Record audio']").click()
  record = wait(lambda: one(tab, "#ltu-audio .record-button"))
  wait(record.is_displayed)
  record.click()
  stop = one(tab, "#ltu-audio .stop-button")
  wait(stop.is_displayed)
  time.sleep(1.2)
  stop.click()
  wait(lambda: text(tab, "#ltu-note").startswith("audio.wav: "))
  picture = wait(lambda: one(tab, "#ltu-picture img"))
  wait(lambda: picture.get_property("naturalWidth") == 864)
  (file,) = pathlib.Path(gradio_env.FOLDER).rglob("audio.wav")
  pcm = hear(file, "a").clip
  assert 0.5 * 16000 < len(pcm) < 10 * 16000
  assert np.abs(pcm.astype(int)).max() > 1000
  longest_answer(tab, 24)
  ask(tab, "What?")
  ended(tab)
  want = alone(file, "What?", 24)
  wait(lambda: messages(tab, "bot") == [want])


def test_a_closed_page_takes_its_question_back(tab, clips, service):
  upload(tab, clips / "tone.wav")
  longest_answer(tab, 100_000)
  ask(tab, "What?")
  wait(lambda: any(len(m) > 4 for m in messages(tab, "bot")))
  tab.get("about:blank")
  wait(lambda: service.num_open == 0, 10)
  said = [entry["message"] for entry in tab.get_log("browser")]
  assert [m for m in said if not any(h in m for h in HARMLESS + LEFT)] == []


def test_a_narrow_page_has_no_sideways_scroll(tab, clips):
  upload(tab, clips / "tone.wav")
  tab.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
  )
  try:
    wait(lambda: tab.execute_script("return window.innerWidth") == 390)
    wide = tab.execute_script("return document.documentElement.scrollWidth")
    assert wide <= 390
    for css in (
      "#ltu-audio",
      "#ltu-picture img",
      "#ltu-chat",
      "#ltu-follow-up",
      "#ltu-ask",
    ):
      place = one(tab, css).rect
      assert place["x"] >= 0 and place["x"] + place["width"] <= 390, css
  finally:
    tab.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_file_that_is_too_large_is_said(browser, address, tmp_path):
  browser.get(address)
  box = wait(lambda: one(browser, "#ltu-audio input[type=file]"))
  large = tmp_path / "large.wav"
  file = io.BytesIO()
  soundfile.write(file, np.zeros(1_500_000), 16000, format="WAV")
  large.write_bytes(file.getvalue())
  assert os.path.getsize(large) > 2_000_000
  box.send_keys(str(large))
  wait(lambda: "size" in browser.find_element(By.TAG_NAME, "body").text)
