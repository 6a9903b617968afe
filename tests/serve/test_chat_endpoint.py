"""OpenAI's own client asks: what it gets is what the service says."""

import asyncio
import base64
import dataclasses

import openai
import pytest

import live
from ltu_jax import sampling
from ltu_jax.answers.answerer import Question
from ltu_jax.serve.app import Settings

SHORT = dataclasses.replace(sampling.GREEDY, max_new_tokens=12)
LONG = dataclasses.replace(sampling.GREEDY, max_new_tokens=100_000)
GREEDY = {
  "temperature": 0,
  "top_p": 1,
  "max_tokens": 12,
  "extra_body": {"top_k": 0, "repetition_penalty": 1},
}


def client(port, cls=openai.OpenAI, key="none"):
  url = f"http://127.0.0.1:{port}/v1"
  return cls(base_url=url, api_key=key, max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def ai(port):
  return client(port)


def create(ai, messages, **changes):
  return ai.chat.completions.create(
    model="ltu", messages=messages, **{**GREEDY, **changes}
  )


def says(role, content):
  return {"role": role, "content": content}


def sound(number, kind="wav"):
  data = base64.b64encode(live.wav(number, kind=kind)).decode()
  return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}


def text(words):
  return {"type": "text", "text": words}


def ask(service, words, **fields):
  *_, last = service.stream(Question(words, config=SHORT, **fields))
  return last.answer


def test_models(ai):
  assert [model.id for model in ai.models.list()] == ["ltu"]
  assert ai.models.retrieve("ltu").owned_by == "ltu_jax"


def test_a_sound_and_a_question(ai, service):
  found = create(ai, [says("user", [sound(2), text("What?")])])
  want = ask(service, "What?", clip=live.clip(2)[:, 0])
  choice = found.choices[0]
  assert choice.message.content == want.text != ""
  assert (choice.message.role, choice.finish_reason) == ("assistant", "length")
  usage = found.usage
  assert usage.prompt_tokens == want.prompt_tokens
  assert (usage.completion_tokens, found.model) == (12, "ltu")
  assert usage.total_tokens == want.prompt_tokens + 12


def test_a_dialogue_with_a_system_message_and_the_latest_sound(ai, service):
  found = create(
    ai,
    [
      says("system", "Be brief."),
      says("user", [text("Why?"), sound(1)]),
      says("assistant", "So."),
      says("user", [sound(2, "flac"), text("What?")]),
      says("assistant", [text("Thus.")]),
      says("user", "Who is it?"),
    ],
  )
  before = (("Be brief.\nWhy?", "So."), ("What?", "Thus."))
  clip = live.clip(2)[:, 0]
  want = ask(service, "Who is it?", before=before, clip=clip)
  assert found.choices[0].message.content == want.text


def test_streams(ai, service):
  want = ask(service, "What?").text
  chunks = list(
    create(
      ai,
      [says("user", "What?")],
      stream=True,
      stream_options={"include_usage": True},
      stop=[want[9]],
    )
  )
  *said, last = chunks
  assert said[0].choices[0].delta.role == "assistant"
  deltas = [chunk.choices[0].delta.content or "" for chunk in said]
  assert "".join(deltas) == want[: want.index(want[9])]
  assert [c.choices[0].finish_reason for c in said[-2:]] == [None, "stop"]
  assert last.choices == [] and last.usage.completion_tokens >= 9
  assert len({chunk.id for chunk in chunks}) == 1


def test_coroutines_streamed_and_not(port, service):
  want = ask(service, "What?").text

  async def main():
    async with client(port, openai.AsyncOpenAI) as ai:
      whole = create(ai, [says("user", "What?")])
      stream = await create(ai, [says("user", "What?")], stream=True, n=2)
      pieces = ["", ""]
      async for chunk in stream:
        choice = chunk.choices[0]
        pieces[choice.index] += choice.delta.content or ""
      return (await whole).choices[0].message.content, pieces

  assert asyncio.run(main()) == (want, [want, want])


def test_seeds_give_the_same_and_other_answers(ai):
  ask = lambda **more: [
    choice.message.content
    for choice in create(
      ai, [says("user", "What?")], temperature=5, **more
    ).choices
  ]
  first = ask(seed=-3, n=2)
  assert first == ask(seed=-3, n=2) and first[0] != first[1]
  assert ask(seed=4) != first[:1]


IMAGE = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
BAD_SOUND = {"type": "input_audio", "input_audio": {"format": "wav"}}


@pytest.mark.parametrize(
  ("changes", "param", "message"),
  [
    ({"tools": [{"type": "function"}]}, "tools", "no such thing"),
    ({"response_format": {"type": "json_object"}}, "response_format", ""),
    ({"logprobs": True}, "logprobs", ""),
    ({"temperature": -1}, "temperature", ""),
    ({"max_tokens": 0}, "max_tokens", ""),
    ({"n": 100}, "n", ""),
    ({"stop": [""]}, None, "stop"),
    ({"messages": []}, "messages", ""),
    ({"messages": [says("system", "x")]}, "messages", "must be a user's"),
    ({"messages": [says("assistant", "x")]}, "messages.0", "no question"),
    ({"messages": [says("user", " ")]}, "messages.0", "no text"),
    ({"messages": [says("tool", "x")]}, "messages.0.role", ""),
    ({"messages": [says("user", [IMAGE])]}, None, "'image_url' cannot be"),
    (
      {"messages": [says("user", [sound(1), sound(2), text("x")])]},
      "messages.0",
      "one sound at a time",
    ),
    ({"messages": [says("user", [BAD_SOUND])]}, None, "Field required"),
    (
      {
        "messages": [
          says(
            "user",
            [
              text("What?"),
              {
                "type": "input_audio",
                "input_audio": {"data": "https://x/y.wav", "format": "wav"},
              },
            ],
          )
        ]
      },
      "messages",
      "no base64",
    ),
  ],
)
def test_what_cannot_be_heeded_is_refused(ai, changes, param, message):
  with pytest.raises(openai.BadRequestError) as raised:
    ai.chat.completions.create(
      **{"model": "ltu", "messages": [says("user", "What?")]} | changes
    )
  if param:
    assert raised.value.param == param
  assert message in raised.value.message
  assert raised.value.type == "invalid_request_error"


def test_what_does_not_matter_is_ignored(ai):
  found = create(
    ai,
    [says("user", "What?")],
    user="me",
    store=False,
    tool_choice="none",
    presence_penalty=0,
    metadata={"a": "b"},
  )
  assert found.choices


def test_another_model(ai):
  with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o' here"):
    ai.chat.completions.create(model="gpt-4o", messages=[says("user", "x")])


def test_too_many_too_slow_and_no_token():
  with live.service(waiting=0, seconds=2) as service:
    settings = Settings(token="secret")
    with live.serving(service, settings) as port:
      with pytest.raises(openai.AuthenticationError, match="bearer token"):
        client(port, key="wrong").models.list()
      ai = client(port, key="secret")
      assert ai.models.list().data
      streams = [
        service.stream(Question("What?", config=LONG)) for _ in range(2)
      ]
      for stream in streams:
        next(stream)
      with pytest.raises(openai.RateLimitError, match="ask again") as raised:
        create(ai, [says("user", "What?")])
      assert int(raised.value.response.headers["retry-after"]) >= 1
      for stream in streams:
        stream.close()
      live.wait_for(lambda: service.num_open == 0)
      service.seconds = 0.01
      with pytest.raises(openai.InternalServerError) as raised:
        create(ai, [says("user", "What?")], max_tokens=1900)
      assert raised.value.status_code == 504
      service._stopping = True
      with pytest.raises(openai.InternalServerError) as raised:
        create(ai, [says("user", "What?")])
      assert raised.value.status_code == 503
      service._stopping = False
