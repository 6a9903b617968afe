"""The page: a clip, its picture, and a dialogue about it."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

# Gradio reads it when it is imported.
from ltu_jax.serve import gradio_env  # isort: split

import gradio as gr
from fastapi import FastAPI

from ltu_jax import sampling
from ltu_jax.serve import page_handlers as handlers
from ltu_jax.serve.page_guard import PageGuard
from ltu_jax.serve.page_looks import CSS, theme
from ltu_jax.serve.service import Service

MOST_BYTES = 64 << 20
"""Largest file that is taken by default: 11 minutes of CD quality."""

_KEPT_SECONDS = 600
"""How long an uploaded file is kept: it is heard at once."""

_SESSIONS = 500
"""Pages whose clips are remembered, of about 0.4 MB each."""

_INTRODUCTION = """# LTU: listen, think and understand
Upload or record a sound, and ask about it in plain words."""

_PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
"""Of every event: no entry in an API."""


def make_page(
  service: Service, *, card: str, examples: Sequence[str]
) -> gr.Blocks:
  """Builds the page.

  Args:
    service: Who answers.
    card: Markdown, what the model is; a YAML header is left out.
    examples: Questions that can be clicked.

  Returns:
    The page, for `mount`.
  """
  with gr.Blocks(
    title="LTU",
    analytics_enabled=False,
    delete_cache=(_KEPT_SECONDS // 10, _KEPT_SECONDS),
  ) as page:
    gr.Markdown(_INTRODUCTION)
    heard, history = gr.State(None), gr.State([])
    # A copy for each page.
    asking = gr.State(handlers.Asking())
    with gr.Row(equal_height=False):
      with gr.Column(scale=5, min_width=320):
        audio, picture, note = _clip()
      with gr.Column(scale=6, min_width=320):
        chat, status, asked, buttons = _dialogue(examples)
        settings = _settings()
    with gr.Accordion("About the model", open=False):
      gr.Markdown(_without_header(card), elem_id="ltu-card")
    question, follow_up = asked
    shown = [history, chat, status, question, *buttons]
    inputs = [asking, question, heard, history, follow_up, *settings]
    _wire(service, audio, [heard, picture, note, audio], inputs, shown)
  page.queue(default_concurrency_limit=None, api_open=False)
  page.state_session_capacity = _SESSIONS
  return page


def mount(
  app: FastAPI, page: gr.Blocks, *, most_bytes: int = MOST_BYTES
) -> FastAPI:
  """Puts the page at "/" of an application, behind the routes it has.

  Args:
    app: The application.
    page: Of `make_page`.
    most_bytes: Larger files are refused.

  Returns:
    The application; its `state.end_streams` ends, on the server's loop, what
    pages keep open for as long as they are there.
  """
  app = gr.mount_gradio_app(
    app,
    page,
    "/",
    footer_links=[],
    run_history=False,
    app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    allowed_paths=[],
    max_file_size=most_bytes,
    ssr_mode=False,
    enable_monitoring=False,
    pwa=False,
    mcp_server=False,
    theme=theme(),
    css=CSS,
  )
  # Without it a mounted page takes any file of the server for an uploaded one.
  page.has_launched = True
  mounted = app.routes[-1].app
  mounted.add_middleware(PageGuard, folder=gradio_env.FOLDER)
  app.state.end_streams = mounted.stop_event.set
  return app


def _clip() -> tuple[gr.Audio, gr.HTML, gr.HTML]:
  """The column of the clip."""
  audio = gr.Audio(
    label="Sound",
    type="filepath",
    editable=False,
    buttons=[],
    elem_id="ltu-audio",
    waveform_options=gr.WaveformOptions(show_recording_waveform=False),
  )
  note = gr.HTML(elem_id="ltu-note")
  picture = gr.HTML(elem_id="ltu-picture")
  return audio, picture, note


def _dialogue(
  examples: Sequence[str],
) -> tuple[
  gr.Chatbot, gr.HTML, tuple[gr.Textbox, gr.Checkbox], list[gr.Button]
]:
  """The column of the dialogue."""
  chat = gr.Chatbot(
    label="Dialogue about this clip",
    elem_id="ltu-chat",
    height=320,
    render_markdown=False,
    buttons=[],
    feedback_options=None,
    placeholder="Ask about the sound on this page.",
  )
  status = gr.HTML(elem_id="ltu-status")
  question = gr.Textbox(
    label="Question",
    placeholder="What can be heard?",
    elem_id="ltu-question",
    max_lines=4,
    max_length=4000,
  )
  follow_up = gr.Checkbox(
    True,
    label="Follow up (the model reads the dialogue so far)",
    info="It was trained on single questions.",
    elem_id="ltu-follow-up",
  )
  with gr.Row(elem_id="ltu-buttons"):
    ask = gr.Button("Ask", variant="primary", min_width=90, elem_id="ltu-ask")
    stop = gr.Button(
      "Stop",
      variant="stop",
      min_width=90,
      interactive=False,
      elem_id="ltu-stop",
    )
    new = gr.Button("New dialogue", min_width=90, elem_id="ltu-new")
  with gr.Row(elem_id="ltu-examples"):
    for text in examples:
      button = gr.Button(text, size="sm", min_width=0, scale=0)
      button.click(
        None, None, question, js=f"() => {json.dumps(text)}", **_PRIVATE
      )
  return chat, status, (question, follow_up), [ask, stop, new]


def _settings() -> list[gr.components.Component]:
  """The panel of settings, in the order of SamplingConfig; then the seed."""
  default = sampling.PUBLISHED
  with gr.Accordion("Settings", open=False), gr.Row(elem_id="ltu-settings"):
    return [
      gr.Number(
        default.temperature,
        label="Temperature",
        info="0: the most likely",
        step=0.1,
        min_width=170,
      ),
      gr.Number(
        default.top_p,
        label="Top p",
        info="1: all tokens",
        step=0.05,
        min_width=170,
      ),
      gr.Number(
        default.top_k,
        label="Top k",
        info="0: all tokens",
        precision=0,
        min_width=170,
      ),
      gr.Number(
        default.repetition_penalty,
        label="Repetition penalty",
        info="1: none",
        step=0.05,
        min_width=170,
      ),
      gr.Number(
        default.max_new_tokens,
        label="Longest answer",
        info="in tokens",
        precision=0,
        min_width=170,
        elem_id="ltu-longest",
      ),
      gr.Number(
        0,
        label="Seed",
        info="of the draws",
        precision=0,
        min_width=170,
      ),
    ]


def _wire(
  service: Service,
  audio: gr.Audio,
  clip: list[gr.components.Component],
  inputs: list[gr.components.Component],
  shown: list[gr.components.Component],
) -> None:
  """Connects what can be clicked with what is done.

  Args:
    service: Who answers.
    audio: Where a clip comes in.
    clip: What shows it: state, picture, note and `audio`.
    inputs: Of a question: what ends it, its text, clip, history, whether it
      follows up, and settings.
    shown: What shows a dialogue: history, chat, status, question, and the
      buttons to ask, to stop and for a new dialogue.
  """
  _, chat, _, question, ask, stop, new = shown

  async def asked(*values: Any) -> AsyncIterator[tuple]:
    async for state in handlers.ask(service, *values):
      yield _updates(state)

  def heard(path: str | None, asking: handlers.Asking) -> tuple:
    asking.stop(quiet=True)
    state = handlers.hear_clip(path)
    # What cannot be used is taken out of the box: no player can play it.
    file = None if path and state.heard is None else gr.skip()
    begun = _updates(handlers.Shown([]))
    return (state.heard, state.picture, state.note, file, *begun)

  async def started(asking: handlers.Asking) -> tuple:
    asking.stop(quiet=True)
    return _updates(handlers.Shown([]))

  async def stopped(asking: handlers.Asking) -> None:
    asking.stop()

  asked_of = gr.on(
    [ask.click, question.submit],
    asked,
    inputs,
    shown,
    concurrency_limit=None,
    **_PRIVATE,
  )
  # A new clip begins a new dialogue.
  gr.on(
    [audio.upload, audio.stop_recording, audio.clear],
    heard,
    [audio, inputs[0]],
    [*clip, *shown],
    cancels=asked_of,
    concurrency_limit=2,
    **_PRIVATE,
  )
  stop.click(stopped, inputs[0], None, **_PRIVATE)
  gr.on(
    [new.click, chat.clear],
    started,
    inputs[0],
    shown,
    cancels=asked_of,
    **_PRIVATE,
  )


def _updates(state: handlers.Shown) -> tuple:
  """What a dialogue's components get; see `_wire`."""
  question = gr.skip() if state.question is None else state.question
  return (
    state.history,
    state.messages,
    state.status,
    question,
    gr.update(interactive=not state.busy),
    gr.update(interactive=state.busy),
    gr.skip(),
  )


def _without_header(card: str) -> str:
  """Markdown without a YAML header."""
  return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)
