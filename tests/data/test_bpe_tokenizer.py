"""Files of the tokenizers library against that library and transformers."""

import json
import pathlib
import pickle
import re

import numpy as np
import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models

from ltu_jax.data.bpe_tokenizer import JsonTokenizer
from ltu_jax.data.tokenizer import SentencePieceTokenizer, load_tokenizer
from tiny_bpe import SPECIAL, tiny_bpe, write_folder

SPM = pathlib.Path(__file__).parents[1] / "golden" / "tiny_spm.model"
CONFIG = {"bos_token": SPECIAL[1], "eos_token": SPECIAL[2]}
TEXTS = [
  "A dog barks; a bell rings.",
  "3.5s - 10.0s, 1234567890 and ²½ Ⅻ ٣",
  "list\n\n1. one\n 22. two\r\n\ttab",
  "café naïve ♫ 日本語 🐶👩‍👩‍👧",
  "  two spaces at the front and the end  ",
  "it isn't, they'll, we've",
  "",
  " ",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return write_folder(tmp_path_factory.mktemp("bpe") / "tiny")


@pytest.fixture(scope="module")
def tiny(folder):
  return JsonTokenizer.from_folder(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_the_librarys(tiny, text):
  want = tiny_bpe().encode(text, add_special_tokens=False).ids
  assert tiny.encode(text, bos=False) == want
  assert tiny.encode(text, bos=True, eos=True) == [1, *want, 2]


def test_special_ids_are_those_that_the_config_names(tiny):
  assert (tiny.bos_id, tiny.eos_id, tiny.pad_id) == (1, 2, 0)
  assert tiny.vocab_size == 300


def test_without_begin_and_padding_the_end_token_serves(folder):
  file = folder / "tokenizer.json"
  for config in (
    {"eos_token": "<|im_end|>"},
    {"eos_token": "<|im_end|>", "bos_token": None, "pad_token": None},
  ):
    got = JsonTokenizer(file, config)
    assert (got.bos_id, got.eos_id, got.pad_id) == (2, 2, 2)


@given(st.lists(st.one_of(st.text(), st.sampled_from(SPECIAL))).map("".join))
def test_any_text_comes_back_and_has_no_special_id(tiny, text):
  ids = tiny.encode(text, bos=False)
  assert not {0, 1, 2} & set(ids)
  assert tiny.decode(ids) == text
  assert tiny.decode([1, *ids, 2, 0, 0]) == text


def test_ids_may_be_an_array(tiny):
  ids = np.array(tiny.encode("A dog barks.", eos=True), np.int32)
  assert tiny.decode(ids) == "A dog barks."


def test_an_id_outside_the_vocabulary_is_an_error(tiny):
  with pytest.raises(ValueError, match="id 300 is outside the vocabulary of"):
    tiny.decode([5, 300])
  with pytest.raises(ValueError, match="-100 is outside"):
    tiny.decode([-100])


def test_a_pickled_copy_is_the_same_tokenizer(tiny, folder):
  for other in (
    pickle.loads(pickle.dumps(tiny)),
    JsonTokenizer((folder / "tokenizer.json").read_bytes(), tiny.config),
  ):
    text = "stop <|im_end|> here"
    assert other.encode(text) == tiny.encode(text)
    assert other.model == (folder / "tokenizer.json").read_bytes()


def changed(change) -> bytes:
  """The tiny tokenizer's file after `change(data)`."""
  data = json.loads(tiny_bpe().to_str())
  change(data)
  return json.dumps(data).encode()


def test_added_tokens_count_in_the_vocabulary():
  tokenizer = tiny_bpe()
  tokenizer.add_tokens(["<think>"])
  got = JsonTokenizer(tokenizer.to_str().encode(), CONFIG)
  assert got.vocab_size == 301
  # One that is not special is text and stays whole.
  assert got.encode("a<think>", bos=False)[-1] == 300
  assert got.decode([300]) == "<think>"


@pytest.mark.parametrize("how", ["not special", "not added", "merged"])
def test_a_named_token_is_special_whatever_the_file_says(how):
  def change(data):
    if how == "not special":
      for token in data["added_tokens"]:
        token["special"] = False
      return
    if how == "not added":
      data["added_tokens"] = []
      return
    # Merges that spell <|im_end|> out of its characters.
    vocab, merges = data["model"]["vocab"], data["model"]["merges"]
    data["pre_tokenizer"] = None
    merges.clear()
    for i in range(2, len(SPECIAL[2]) + 1):
      vocab.setdefault(SPECIAL[2][:i], len(vocab))
      merges.append([SPECIAL[2][: i - 1], SPECIAL[2][i - 1]])

  got = JsonTokenizer(changed(change), CONFIG)
  ids = got.encode("a<|im_end|>b<|im_start|>", bos=False)
  assert not {1, 2} & set(ids)
  assert got.decode([1, *ids, 2]) == "a<|im_end|>b<|im_start|>"


def test_dropout_is_off():
  def change(data):
    data["model"]["dropout"] = 0.9

  got = JsonTokenizer(changed(change), CONFIG)
  text = "A train passes, then a door slams."
  want = tiny_bpe().encode(text).ids
  assert all(got.encode(text, bos=False) == want for _ in range(20))


def test_transformers_reads_what_is_saved(tiny, tmp_path):
  tiny.save(tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  for text in TEXTS:
    want = theirs(text, add_special_tokens=False)["input_ids"]
    assert tiny.encode(text, bos=False) == want
    assert tiny.decode(want) == theirs.decode(want, skip_special_tokens=True)
    assert theirs(text)["input_ids"] == tiny.encode(text, bos=True, eos=True)
  assert theirs.bos_token_id == tiny.bos_id
  assert theirs.eos_token_id == tiny.eos_id
  assert theirs.pad_token_id == tiny.pad_id


def test_saving_gives_the_same_bytes_again_and_again(folder, tmp_path):
  config = json.loads((folder / "tokenizer_config.json").read_text())
  config |= {"chat_template": "{{ x }}", "auto_map": {"AutoTokenizer": "x.py"}}
  first, second = tmp_path / "a", tmp_path / "b"
  first.mkdir()
  second.mkdir()
  JsonTokenizer(folder / "tokenizer.json", config).save(first)
  load_tokenizer(first).save(second)
  for name in ("tokenizer.json", "tokenizer_config.json"):
    assert (first / name).read_bytes() == (second / name).read_bytes()
  assert (first / "tokenizer.json").read_bytes() == (
    folder / "tokenizer.json"
  ).read_bytes()
  saved = json.loads((first / "tokenizer_config.json").read_text())
  assert saved["chat_template"] == "{{ x }}"
  assert "auto_map" not in saved


def test_a_folder_may_have_a_map_of_special_tokens_alone(folder, tmp_path):
  (tmp_path / "tokenizer.json").write_bytes(
    (folder / "tokenizer.json").read_bytes()
  )
  with pytest.raises(ValueError, match=r"neither tokenizer_config.json nor"):
    load_tokenizer(tmp_path)
  names = {"bos_token": SPECIAL[0], "eos_token": {"content": SPECIAL[0]}}
  (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
  assert load_tokenizer(tmp_path).eos_id == 0
  # The config counts where both name a token.
  config = {"eos_token": SPECIAL[2]}
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
  got = load_tokenizer(tmp_path)
  assert (got.bos_id, got.eos_id) == (0, 2)


def test_a_sentencepiece_model_comes_first(folder, tmp_path):
  assert load_tokenizer(tmp_path) is None
  write_folder(tmp_path)
  assert isinstance(load_tokenizer(tmp_path), JsonTokenizer)
  (tmp_path / "tokenizer.model").write_bytes(SPM.read_bytes())
  assert isinstance(load_tokenizer(tmp_path), SentencePieceTokenizer)


def test_llamas_json_file_gives_the_ids_of_its_sentencepiece(tmp_path):
  spm = SentencePieceTokenizer(SPM)
  spm.save(tmp_path)
  theirs = transformers.LlamaTokenizer.from_pretrained(tmp_path)
  theirs.save_pretrained(tmp_path / "json")
  got = JsonTokenizer.from_folder(tmp_path / "json")
  for text in (*TEXTS[:4], "stop </s> here <s>"):
    assert got.encode(text, eos=True) == spm.encode(text, eos=True)
    assert got.decode(got.encode(text)) == text
  assert (got.bos_id, got.eos_id, got.pad_id) == (1, 2, 0)


def no_vocab(data):
  data["model"] = {"type": "BPE"}


def odd(key):
  """Puts a value where a text should be."""

  def change(data):
    if key == "added_tokens":
      data[key][0]["content"] = ["<s>"]
    else:
      data["model"][key][0] = [1, 2]

  return change


def gap(data):
  data["added_tokens"].append(
    {**data["added_tokens"][0], "id": 900, "content": "<new>"}
  )


@pytest.mark.parametrize(
  ("model", "config", "reason"),
  [
    (b"", CONFIG, "not a JSON file"),
    (b"\xff\xfe{", CONFIG, "not a JSON file"),
    (b"[]", CONFIG, "holds no JSON object"),
    (b"{}", CONFIG, "not a tokenizer file"),
    (changed(no_vocab), CONFIG, "not a tokenizer file"),
    (b"[" * 100_000, CONFIG, "not a JSON file .* nested too deeply"),
    (changed(odd("added_tokens")), CONFIG, "not a tokenizer file"),
    (changed(odd("merges")), CONFIG, "not a tokenizer file"),
    (
      changed(gap),
      CONFIG,
      r"the added token '<new>' has id 900 .* would get 300",
    ),
    (changed(dict), {}, "no eos_token is named"),
    (changed(dict), {"eos_token": 2}, "eos_token is 2 in"),
    (changed(dict), {"eos_token": "</s>"}, "has no token '</s>', which"),
    (
      changed(dict),
      {**CONFIG, "pad_token": "[PAD]"},
      r"has no token '\[PAD\]', which .* names as pad_token",
    ),
  ],
)
def test_what_cannot_be_used_is_one_clear_error(model, config, reason):
  with pytest.raises(ValueError, match=f"^{len(model)} bytes: {reason}"):
    JsonTokenizer(model, config)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=re.escape("tokenizer.json")):
    JsonTokenizer.from_folder(tmp_path)


def test_a_file_that_makes_end_ids_of_text_is_refused():
  # Words are looked up whole, and unknown ones become the end token.
  words = tokenizers.Tokenizer(
    models.WordLevel({"</s>": 0, "dog": 1}, unk_token="</s>")
  )
  with pytest.raises(ValueError, match="'</s>' becomes the special id 0"):
    JsonTokenizer(words.to_str().encode(), {"eos_token": "</s>"})
