import json

import numpy as np
import pytest
import torch
from transformers import BertModel

import tiny_bert
from ltu_jax.evaluate.embeddings import choose
from ltu_jax.evaluate.embeddings.minilm import BertEmbedder
from ltu_jax.evaluate.embeddings.sentence_files import UnsupportedError
from ltu_jax.evaluate.errors import EvaluateError

# float32 through three layers; vectors have length 1. They were 3e-7 apart.
ROUNDING = 3e-6


def oracle(folder, texts, most_tokens=tiny_bert.MOST_TOKENS):
  """transformers' BertModel, one text at a time, and the mean over tokens."""
  model = BertModel.from_pretrained(folder).eval()
  tokenizer = tiny_bert.tokenizer()
  tokenizer.no_padding()
  tokenizer.enable_truncation(most_tokens)
  vectors = []
  for text in texts:
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.no_grad():
      mean = model(input_ids=ids).last_hidden_state[0].mean(dim=0)
    vectors.append((mean / mean.norm()).numpy())
  return np.stack(vectors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tiny_bert.write_folder(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture(scope="module")
def vectors(folder):
  return oracle(folder, tiny_bert.TEXTS)


def test_vectors_are_those_of_transformers(folder, vectors):
  ours = BertEmbedder(folder)(tiny_bert.TEXTS)
  assert ours.dtype == np.float32
  np.testing.assert_allclose(ours, vectors, rtol=0, atol=ROUNDING)
  # The random model tells texts apart, but for one that is there twice and for
  # eight that are the same up to where they are cut.
  assert len(np.unique(vectors.round(3), axis=0)) == len(tiny_bert.TEXTS) - 8


def test_a_vector_does_not_depend_on_the_other_texts(folder):
  embed = BertEmbedder(folder)
  together = embed(tiny_bert.TEXTS)
  alone = np.concatenate([embed([text]) for text in tiny_bert.TEXTS])
  # The sums of a row are those of its row alone; at most their order differs.
  np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
  assert embed([]).shape == (0, tiny_bert.WIDTH)


@pytest.mark.parametrize(
  ("options", "most_tokens"),
  [
    ({"pooling": tiny_bert.NEW_POOLING}, tiny_bert.MOST_TOKENS),
    ({"modules": ["Transformer", "Pooling"]}, tiny_bert.MOST_TOKENS),
    ({"head": "bert."}, tiny_bert.MOST_TOKENS),
    ({"config": {"hidden_act": "gelu_new"}}, tiny_bert.MOST_TOKENS),
    # Since sentence-transformers 6, the tokenizer's length.
    ({"text": {"transformer_task": "feature-extraction"}}, 44),
    ({"text": {"max_seq_length": 512}}, tiny_bert.POSITIONS),
  ],
)
def test_other_ways_to_write_a_folder(tmp_path, options, most_tokens):
  made = tiny_bert.write_folder(tmp_path / "made", **options)
  texts = ["sound of dog barking", "a dog " * 100]
  ours, theirs = BertEmbedder(made)(texts), oracle(made, texts, most_tokens)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
  ("options", "word"),
  [
    ({"pooling": {"pooling_mode_cls_token": True}}, "pooling_mode_cls_token"),
    (
      {"pooling": tiny_bert.OLD_POOLING | {"pooling_mode_max_tokens": True}},
      "pooling_mode_max_tokens",
    ),
    ({"pooling": {"pooling_mode": "cls"}}, "pooling_mode is 'cls'"),
    ({"modules": ["Transformer", "Pooling", "Dense"]}, "Dense"),
    ({"modules": ["Transformer"]}, "Transformer"),
    ({"config": {"model_type": "roberta"}}, "'roberta'"),
    ({"config": {"hidden_act": "silu"}}, "'silu'"),
    ({"config": {"position_embedding_type": "relative_key"}}, "relative_key"),
    ({"config": {"num_hidden_layers": 4}}, "encoder.layer.3"),
    ({"config": {"num_attention_heads": 5}}, "heads"),
    ({"config": {"num_attention_heads": "4"}}, "num_attention_heads"),
    ({"text": {"do_lower_case": True}}, "do_lower_case"),
  ],
)
def test_what_jax_cannot_do_is_refused(tmp_path, options, word):
  made = tiny_bert.write_folder(tmp_path / "made", **options)
  with pytest.raises(UnsupportedError, match=word):
    BertEmbedder(made)


@pytest.mark.parametrize(
  ("name", "content", "word"),
  [
    ("modules.json", None, "modules.json"),
    ("modules.json", "[1]", "modules.json"),
    ("modules.json", "{", "modules.json"),
    ("config.json", "[]", "config.json"),
    ("1_Pooling/config.json", None, "1_Pooling"),
    ("tokenizer.json", None, "tokenizer.json"),
    ("tokenizer.json", "{}", "tokenizer.json"),
    ("tokenizer_config.json", '{"do_lower_case": false}', "small letters"),
    (
      "config_sentence_transformers.json",
      '{"default_prompt_name": "q"}',
      "'q'",
    ),
    ("model.safetensors", None, "model.safetensors"),
    ("model.safetensors", "version https://git-lfs", "Git LFS"),
  ],
)
def test_damaged_folders_are_refused(tmp_path, name, content, word):
  made = tiny_bert.write_folder(tmp_path / "made")
  (made / name).unlink(missing_ok=True)
  if content is not None:
    (made / name).write_text(content)
  with pytest.raises(UnsupportedError, match=word):
    BertEmbedder(made)


def test_the_name_follows_the_content(tmp_path, folder):
  name = BertEmbedder(folder).name
  assert name.startswith("tiny@")
  same = tiny_bert.write_folder(tmp_path / "a" / "tiny")
  assert BertEmbedder(same).name == name
  assert BertEmbedder(same, "title").name == name.replace("tiny@", "title@")
  others = [
    {"seed": 1},
    {"config": {"layer_norm_eps": 1e-5}},
    {"text": {"max_seq_length": 12}},
  ]
  for i, options in enumerate(others):
    other = tiny_bert.write_folder(tmp_path / str(i) / "tiny", **options)
    assert BertEmbedder(other).name != name
  file = same / "tokenizer.json"
  file.write_text(file.read_text().replace('"##x"', '"##X"'))
  assert BertEmbedder(same).name != name


def test_choose_takes_a_folder_and_keeps_vectors(tmp_path, folder, vectors):
  for _ in range(2):
    embed = choose.embedder(str(folder), tmp_path / "kept")
    ours = embed(tiny_bert.TEXTS)
    np.testing.assert_allclose(ours, vectors, rtol=0, atol=ROUNDING)
  assert list((tmp_path / "kept").rglob("*.npz"))
  alone = choose.embedder(str(folder), None)
  assert alone.name == embed.name
  np.testing.assert_allclose(alone(tiny_bert.TEXTS), ours, rtol=0, atol=1e-6)


def test_choose_names_what_is_not_there(tmp_path):
  with pytest.raises(EvaluateError, match=r"no such folder.*minilm.*openai"):
    choose.embedder(str(tmp_path / "nothing"), None)


def test_bfloat16_weights_are_read(tmp_path, folder, vectors):
  made = tiny_bert.write_folder(tmp_path / "made")
  model = BertModel.from_pretrained(folder).to(torch.bfloat16)
  model.save_pretrained(made)
  config = json.loads((made / "config.json").read_text())
  assert config["dtype"] == "bfloat16"
  ours = BertEmbedder(made)(tiny_bert.TEXTS)
  # bfloat16 has 8 bits: not the same vectors, but near.
  assert ((ours * vectors).sum(axis=1) > 0.99).all()
