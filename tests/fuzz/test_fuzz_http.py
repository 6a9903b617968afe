"""Requests of any content: an answer or a documented refusal, never a 500."""

import base64
import io
import json

import anyio
import httpx
import jax
import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st
from jax.experimental.compilation_cache import compilation_cache

import letters
from fuzz_cases import fuzzed
from fuzz_data import damaged, hostile_json
from ltu_jax.answers.answerer import Answerer
from ltu_jax.serve.app import Settings, make_app
from ltu_jax.serve.service import Service


def _wav() -> bytes:
  file = io.BytesIO()
  pcm = np.arange(4000, dtype=np.int16)
  soundfile.write(file, pcm, 16000, format="wav")
  return file.getvalue()


WAV = _wav()
SOUND = {"data": base64.b64encode(WAV).decode(), "format": "wav"}
PARTS = [
  {"type": "text", "text": "What?"},
  {"type": "input_audio", "input_audio": SOUND},
]
CHAT = {
  "model": "ltu",
  "messages": [
    {"role": "system", "content": "Hm."},
    {"role": "user", "content": PARTS},
    {"role": "assistant", "content": "So."},
    {"role": "user", "content": "Why?"},
  ],
  "temperature": 0.5,
  "max_tokens": 2,
  "seed": 1,
  "n": 1,
  "stop": ["x"],
  "stream": False,
}
FORM = (
  b'--b\r\nContent-Disposition: form-data; name="question"\r\n\r\nWhat?\r\n'
  b'--b\r\nContent-Disposition: form-data; name="max_new_tokens"\r\n\r\n2\r\n'
  b'--b\r\nContent-Disposition: form-data; name="before"\r\n\r\n[["a","b"]]\r\n'
  b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n'
  b"\r\n" + WAV + b"\r\n--b--\r\n"
)


@pytest.fixture(scope="module", autouse=True)
def served():
  # A case may write nowhere, so what it compiles is not kept either.
  kept = jax.config.jax_compilation_cache_dir
  jax.config.update("jax_compilation_cache_dir", None)
  compilation_cache.reset_cache()
  model, tokenizer = letters.model(), letters.Letters(eos_id=-1)
  service = Service(lambda: Answerer(model, tokenizer, num_rows=1, context=192))
  post.app = make_app(service, Settings())
  for body, kind in ((json.dumps(CHAT).encode(), JSON), (FORM, MULTIPART)):
    assert post(body, kind).status_code == 200
  yield
  assert service.healthy
  service.stop(1)
  jax.config.update("jax_compilation_cache_dir", kept)
  compilation_cache.reset_cache()


JSON = ("/v1/chat/completions", "application/json")
MULTIPART = ("/v1/answers", "multipart/form-data; boundary=b")


def post(body, kind):
  path, content_type = kind

  async def main():
    transport = httpx.ASGITransport(post.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
      transport=transport, base_url="http://localhost"
    ) as client:
      headers = {"content-type": content_type}
      return await client.post(path, content=body, headers=headers)

  return anyio.run(main)


def check(case, answer):
  assert answer.status_code in (200, 400, 404, 413), answer.text
  if answer.status_code != 200:
    assert answer.json()["error"]["message"].strip()
    case.refused()


@fuzzed("a chat request", memory=4 << 30, body=hostile_json([CHAT]))
def test_chat(case, body):
  check(case, post(body, JSON))


@fuzzed("a form", memory=4 << 30, body=damaged([FORM]) | st.binary())
def test_form(case, body):
  check(case, post(body, MULTIPART))
