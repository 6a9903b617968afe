"""The page's handlers, and what its routes refuse; see also test_browser.py."""

import asyncio
import dataclasses
import itertools
import os
import stat
import threading
import time

import httpx
import page_server
import pytest
import soundfile
from fastapi.testclient import TestClient

import live
from ltu_jax import sampling
from ltu_jax.answers.answerer import Question
from ltu_jax.audio.heard import hear
from ltu_jax.serve import gradio_env, page, page_handlers, server
from wav_bytes import wav

SETTINGS = (*dataclasses.astuple(sampling.PUBLISHED)[:4], 24, 0)


@pytest.fixture(scope="module")
def service():
  with page_server.answering() as service:
    yield service


@pytest.fixture(scope="module")
def client(service):
  with TestClient(page_server.app(service, most_bytes=100_000)) as client:
    yield client


@pytest.fixture(scope="module")
def heard():
  return hear(wav(1), "a.wav")


def shown(service, *asked):
  async def all_of_it():
    return [
      state
      async for state in page_handlers.ask(
        service, page_handlers.Asking(), *asked
      )
    ]

  return asyncio.run(all_of_it())


def alone(*asked, settings=SETTINGS):
  config = sampling.SamplingConfig(*settings[:-1])
  question = Question(*asked, config=config, seed=settings[-1])
  *_, last = page_server.answerer().stream(question)
  return last.answer.text


def test_an_answer_grows_to_what_the_model_says(service, heard):
  states = shown(service, "What?", heard, [], True, *SETTINGS)
  said = [state.history[-1][1] for state in states]
  assert said[0] == "" and len(set(said)) > 2
  assert all(b.startswith(a) for a, b in itertools.pairwise(said))
  assert said[-1] == alone("What?", heard.clip)
  assert [state.busy for state in states] == [True] * (len(said) - 1) + [False]
  assert states[0].question == "" and states[-1].question is None
  assert "24 tokens in" in states[-1].status
  assert states[0].messages[-1] == {"role": "assistant", "content": "…"}


def test_a_question_that_follows_knows_what_was_said(service, heard):
  before = [("What?", "乐"), ("stopped before it came", "")]
  *_, last = shown(service, "Where?", heard, before, True, *SETTINGS)
  want = alone("Where?", heard.clip, (("What?", "乐"),))
  assert last.history == [("What?", "乐"), ("Where?", want)]
  assert want != alone("Where?", heard.clip)


def test_a_question_that_goes_alone_knows_nothing(service, heard):
  before = [("What?", "乐")]
  *_, last = shown(service, "Where?", heard, before, False, *SETTINGS)
  want = alone("Where?", heard.clip)
  assert last.history == [("What?", "乐"), ("Where?", want)]


@pytest.mark.parametrize(
  "text, settings, why",
  [
    (" ", SETTINGS, "The question is empty."),
    ("What?", (None, *SETTINGS[1:]), "The setting temperature is empty."),
    ("What?", (-1, *SETTINGS[1:]), "Temperature is -1; it must be 0"),
    ("What?", (*SETTINGS[:5], -1), "Seed is -1; it must be 0 to"),
    ("Why? " * 1000, SETTINGS, "begin a new dialogue"),
  ],
)
def test_mistakes_are_said_and_the_question_is_kept(
  service, heard, text, settings, why
):
  *_, last = shown(service, text, heard, [("a", "b")], True, *settings)
  assert 'role="alert"' in last.status and why in last.status
  assert (last.history, last.question) == ([("a", "b")], text)
  assert not last.busy


def test_without_a_sound_none_is_asked(service):
  (only,) = shown(service, "What?", None, [], True, *SETTINGS)
  assert "There is no sound; upload or record a clip" in only.status


def test_too_many_and_too_slow_are_said(heard):
  with page_server.answering(waiting=-2) as full:
    *_, last = shown(full, "What?", heard, [], True, *SETTINGS)
  assert "Too many questions are waiting; ask again in" in last.status
  with page_server.answering(seconds=0) as slow:
    *_, last = shown(slow, "What?", heard, [], True, *SETTINGS)
  assert "No answer within 0 seconds" in last.status


def test_leaving_takes_the_question_back(service, heard):
  async def leave():
    states = page_handlers.ask(
      *(service, page_handlers.Asking(), "What?", heard, [], True),
      *(*SETTINGS[:4], 4000, 0),
    )
    await anext(states)
    await anext(states)
    assert service.num_open == 1
    await states.aclose()
    while service.num_open:
      await asyncio.sleep(0.01)

  asyncio.run(asyncio.wait_for(leave(), 30))


def stop_after(service, heard, pieces, quiet):
  """What is shown of a dialogue that is stopped after so many pieces."""
  asking, states = page_handlers.Asking(), []

  async def ask():
    async for state in page_handlers.ask(
      *(service, asking, "What?", heard, [("a", "b")], True),
      *(*SETTINGS[:4], 4000, 0),
    ):
      states.append(state)
      if len(states) == 1 + pieces:
        asking.stop(quiet)
    while service.num_open:
      await asyncio.sleep(0.01)

  asyncio.run(asyncio.wait_for(ask(), 30))
  return states


def test_stopping_keeps_what_was_said_and_comes_last(service, heard):
  *_, before, last = stop_after(service, heard, 3, quiet=False)
  assert "Stopped." in last.status and not last.busy
  assert last.history == before.history and last.history[-1][1]


def test_an_answer_of_which_nothing_came_is_dropped(service, heard):
  _, last = stop_after(service, heard, 0, quiet=False)
  assert last.history == [("a", "b")] and "Stopped." in last.status


def test_a_new_dialogue_hears_no_more_of_the_old_one(service, heard):
  states = stop_after(service, heard, 3, quiet=True)
  assert len(states) == 4 and all(state.busy for state in states)


def test_a_clip_is_shown_or_refused_in_words(tmp_path):
  file = tmp_path / "<b>.wav"
  file.write_bytes(wav(1))
  state = page_handlers.hear_clip(str(file))
  assert state.heard.name == "<b>.wav" and state.picture.startswith("<img")
  assert "&lt;b&gt;.wav: 1.00 s." in state.note
  file.write_text("not a sound")
  state = page_handlers.hear_clip(str(file))
  assert state.heard is None and state.picture == ""
  assert "&lt;b&gt;.wav: cannot be decoded" in state.note
  assert str(tmp_path) not in state.note
  assert page_handlers.hear_clip(None) == page_handlers.ClipShown(None)


def test_the_card_has_no_header():
  assert page._without_header("---\na: b\n---\n\n# Card\n---\n") == (
    "\n# Card\n---\n"
  )


def clip_event(client):
  """The number and inputs' count of the function that takes a clip."""
  config = client.get("/config").json()
  audio = next(c["id"] for c in config["components"] if c["type"] == "audio")
  (found,) = [
    d["id"]
    for d in config["dependencies"]
    if d["inputs"][:1] == [audio] and d["backend_fn"]
  ]
  return found


def run_clip(client, path):
  """Names a file as the page does after an upload."""
  file = {"path": path, "meta": {"_type": "gradio.FileData"}}
  body = {
    "data": [file, None],
    "fn_index": clip_event(client),
    "session_hash": "abcdef",
  }
  return client.post("/gradio_api/queue/join", json=body)


def events(client):
  return client.get("/gradio_api/queue/data?session_hash=abcdef").text


def upload(client, name, data):
  return client.post("/gradio_api/upload", files={"files": (name, data)})


def test_an_uploaded_clip_is_heard(client):
  (path,) = upload(client, "a.wav", wav(1)).json()
  assert path.startswith(gradio_env.FOLDER)
  assert stat.S_IMODE(os.stat(gradio_env.FOLDER).st_mode) == 0o700
  assert run_clip(client, path).status_code == 200
  assert "a.wav: 1.00 s." in events(client)


@pytest.mark.parametrize(
  "path",
  [
    "/etc/passwd",
    f"{gradio_env.FOLDER}/../../etc/passwd",
    f"{gradio_env.FOLDER}x/a.wav",
    "http://127.0.0.1:1/a.wav",
    "\0",
    7,
  ],
  # The folder's name is another in each process.
  ids=("elsewhere", "above", "beside", "url", "null", "number"),
)
def test_no_file_of_the_server_may_be_named(client, path):
  refused = run_clip(client, path)
  assert refused.status_code == 403
  assert refused.text == "only uploaded files may be named"


def test_gradio_itself_refuses_files_of_the_server(
  client, monkeypatch, tmp_path
):
  """The second lock, should the first be opened."""
  monkeypatch.setattr(
    page.PageGuard, "_names_uploads_only", lambda self, body: True
  )
  file = tmp_path / "secret.wav"
  soundfile.write(file, [0.5] * 16000, 16000)
  assert run_clip(client, str(file)).status_code == 200
  said = events(client)
  assert "secret.wav: 1.00 s." not in said and '"success":false' in said


@pytest.mark.parametrize(
  "path",
  [
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/proxy=http://127.0.0.1:1/",
    "/gradio_api/file=http://127.0.0.1:1/",
    "/monitoring",
  ],
)
def test_what_the_page_does_not_need_is_not_there(client, path):
  assert client.get(path).status_code == 404


@pytest.mark.parametrize("name", ["run/asked", "api/heard", "call/asked"])
def test_no_function_can_be_called_by_name(client, name):
  refused = client.post(f"/gradio_api/{name}", json={"data": []})
  assert refused.status_code == 404


def test_files_of_the_server_are_not_given(client):
  for path in ("/etc/passwd", os.path.abspath(__file__)):
    assert client.get(f"/gradio_api/file={path}").status_code == 403


def test_a_file_that_is_too_large_is_refused(client):
  assert upload(client, "a.wav", wav(5)).status_code == 413


def test_open_pages_do_not_hold_up_the_end(service):
  app = page_server.app(service)
  with server.bind("127.0.0.1", 0) as taken:
    running = server.Server(app, server.url(taken))
    thread = threading.Thread(target=running.run, args=([taken],))
    thread.start()
    live.wait_for(lambda: running.started)
    # What a page keeps open as long as it is there.
    kept = f"{server.url(taken)}/gradio_api/heartbeat/abcdef"
    with httpx.stream("GET", kept, timeout=30) as stream:
      lines = stream.iter_lines()
      assert next(lines) == "data: ALIVE"
      running.should_exit = True
      began = time.monotonic()
      assert list(lines) == [""]
    thread.join(30)
  # After 5 s they would have been cut, with a traceback.
  assert time.monotonic() - began < 4


def test_nothing_is_fetched_from_elsewhere(client):
  assert page.theme()._stylesheets == []
  home = client.get("/").text
  for tag in ("<script", "<link", "@import"):
    for part in home.split(tag)[1:]:
      assert "//" not in part.split(">")[0].replace("http://testserver", "")
