import numpy as np
import pytest

from embedding_server import EmbeddingServer
from ltu_jax.endpoint.errors import EndpointError
from ltu_jax.evaluate.embeddings import choose, endpoint_embedder
from ltu_jax.evaluate.embeddings.endpoint_embedder import EndpointEmbedder
from ltu_jax.evaluate.errors import EvaluateError
from made_up_embedder import MadeUpEmbedder

ERRORS = (EndpointError, EvaluateError)
MODEL = "made-up-001"
TEXTS = [f"sound of thing {i} \u4e2d" for i in range(600)]
# The server sends float32; made to length 1 once more.
ROUNDING = 1e-6


@pytest.fixture
def server(monkeypatch):
  monkeypatch.setenv("OPENAI_API_KEY", "secret")
  return EmbeddingServer(MadeUpEmbedder(), MODEL)


def test_vectors_come_in_order_in_batches(server):
  with server.running() as url:
    embed = EndpointEmbedder(MODEL, url)
    vectors = embed(TEXTS)
  assert vectors.dtype == np.float32
  np.testing.assert_allclose(
    vectors, MadeUpEmbedder()(TEXTS), rtol=0, atol=ROUNDING
  )
  assert server.sizes == [256, 256, 88]
  assert embed.name == f"{MODEL} at {url}"


def test_a_busy_and_a_failing_server_are_asked_again(server):
  server.failures = [429, 500]
  with server.running() as url:
    vectors = EndpointEmbedder(MODEL, url)(TEXTS[:3])
  np.testing.assert_allclose(
    vectors, MadeUpEmbedder()(TEXTS[:3]), rtol=0, atol=ROUNDING
  )
  assert server.failures == []


def test_what_was_paid_for_is_kept(server, tmp_path, monkeypatch):
  monkeypatch.setattr("ltu_jax.evaluate.embeddings.cache._CHUNK", 256)
  monkeypatch.setenv("OPENAI_BASE_URL", "http://unused.invalid")
  with server.running() as url:
    embed = choose.embedder(f"openai:{MODEL}", tmp_path, url)
    # The third answer is wrong, which asking again does not mend.
    server.change = lambda data: data[len(server.sizes) // 3 :]
    with pytest.raises(EvaluateError, match="88 vectors"):
      embed(TEXTS)
    server.change = lambda data: data
    again = choose.embedder(f"openai:{MODEL}", tmp_path, url)
    again(TEXTS)
  assert server.sizes == [256, 256, 88, 88]


@pytest.mark.parametrize(
  ("change", "word"),
  [
    (lambda data: data[1:], "asked for 3 vectors"),
    (lambda data: [], "not of OpenAI's API"),
    (lambda data: None, "not of OpenAI's API"),
    (lambda data: "no", "none of OpenAI's"),
    (lambda data: [d | {"index": None} for d in data], "none of OpenAI's"),
    (lambda data: [*data, data[0]], "asked for 3 vectors"),
    (lambda data: [data[0] | {"index": 7}, *data[1:]], "asked for 3 vectors"),
    (lambda data: [data[0] | {"embedding": ""}, *data[1:]], "lengths"),
    (lambda data: [d | {"embedding": [0.0, 0.0]} for d in data], "zero"),
    (
      lambda data: [data[0] | {"embedding": [1.0, 0.0]}, *data[1:]],
      "lengths",
    ),
  ],
)
def test_wrong_answers_are_errors(server, change, word):
  server.change = change
  with server.running() as url, pytest.raises(ERRORS, match=word):
    EndpointEmbedder(MODEL, url)(TEXTS[:3])


def test_mistakes_are_told(server, monkeypatch):
  with server.running() as url:
    with pytest.raises(EndpointError, match="no model 'other'"):
      EndpointEmbedder("other", url)(TEXTS[:3])
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with pytest.raises(EndpointError, match="key is not accepted"):
      EndpointEmbedder(MODEL, url)(TEXTS[:3])
  monkeypatch.delenv("OPENAI_API_KEY")
  with pytest.raises(EndpointError, match="OPENAI_API_KEY"):
    choose.embedder("openai", None)


def test_the_default_is_the_published_model_and_no_password_is_shown(server):
  url = "http://user:hidden@127.0.0.1:9/v1"
  name = choose.embedder("openai", None, url).name
  assert name == "text-embedding-ada-002 at http://127.0.0.1:9/v1"
  name = choose.embedder("openai:small", None, url).name
  assert name == "small at http://127.0.0.1:9/v1"
  assert endpoint_embedder.MODEL == "text-embedding-ada-002"
