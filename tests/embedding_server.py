"""Embeddings in OpenAI's format over HTTP, on a real port; no test."""

import base64
import contextlib
import socket
import threading
import time

import fastapi
import numpy as np
import uvicorn
from fastapi.responses import JSONResponse


class EmbeddingServer:
  """Serves an embedder.

  Attributes:
    failures: Statuses that the next requests get, first come first.
    change: Changes the list of data of an answer.
    sizes: Texts of each request that was answered.
    asked: Every text, and how often it was asked for.
  """

  def __init__(self, embed, model):
    self.failures, self.sizes, self.asked = [], [], []
    self.change = lambda data: data
    self.app = fastapi.FastAPI()

    @self.app.post("/v1/embeddings")
    async def embeddings(request: fastapi.Request):
      if request.headers["authorization"] != "Bearer secret":
        return _error(401, "wrong key")
      if self.failures:
        return _error(self.failures.pop(0), "not now")
      body = await request.json()
      if body["model"] != model:
        return _error(404, f"no model {body['model']}")
      texts = body["input"]
      self.sizes.append(len(texts))
      self.asked += texts
      vectors = np.asarray(embed(texts)) * 3
      data = [
        {"object": "embedding", "index": i, "embedding": _form(v, body)}
        for i, v in enumerate(vectors)
      ]
      # Their order is not promised; their numbers are.
      return {
        "object": "list",
        "model": model,
        "data": self.change(data[::-1]),
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
      }

  @contextlib.contextmanager
  def running(self):
    """The base URL."""
    taken = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(self.app, http="h11", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([taken],))
    thread.start()
    try:
      end = time.monotonic() + 60
      while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
      yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    finally:
      server.should_exit = True
      thread.join(30)
      taken.close()


def _form(vector, body):
  """What the client asks for: base64 of float32, or numbers."""
  if body.get("encoding_format") == "base64":
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
  return [float(number) for number in vector]


def _error(status, message):
  body = {"error": {"message": message, "type": "error", "code": None}}
  # The client waits as long as this says before it tries again.
  return JSONResponse(body, status, {"retry-after-ms": "10"})
