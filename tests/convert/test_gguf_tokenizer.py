"""Tokenizers in GGUF files against the libraries that made them."""

import re

import pytest

from ltu_jax.convert import gguf_file
from ltu_jax.convert.gguf import read_gguf
from ltu_jax.convert.gguf_tokenizer import read_tokenizer
from ltu_jax.convert.tensors import ConversionError
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from tiny_bpe import SPECIAL, tiny_bpe
from tiny_gguf import SPM, VOCAB, spm_tokenizer, write


def test_the_bpe_tokenizer_is_the_files(tmp_path):
  source = read_gguf(write(tmp_path, tokenizer__chat_template="{{ x }}"))
  got, want = source.tokenizer, tiny_bpe(VOCAB)
  assert (got.bos_id, got.eos_id, got.pad_id) == (1, 2, 2)
  assert got.vocab_size == VOCAB
  assert got.config["chat_template"] == "{{ x }}"
  for text in ("A dog barks.", "at 12.5s\n\n  1. café ♫ 日本", "it isn't"):
    ids = want.encode(text).ids
    assert got.encode(text, bos=False) == ids
    assert got.decode([1, *ids, 2]) == text
  text = "stop <|im_end|>"
  assert not {0, 1, 2} & set(got.encode(text, bos=False))
  assert "byte-level BPE (smollm) of 300 ids" in source.notes[1]


def test_the_sentencepiece_tokenizer_is_the_files(tmp_path):
  want = SentencePieceTokenizer(SPM)
  # An embedding of fewer rows than the tokenizer has ids.
  with pytest.raises(ConversionError, match=r"has \d+ ids and its embedding"):
    read_gguf(write(tmp_path, tokenizer=spm_tokenizer))
  file = gguf_file.open_gguf(tmp_path / "tiny.gguf")
  got, note = read_tokenizer(file)
  assert "SentencePiece BPE" in note
  for text in (
    "A dog barks.",
    "at 12.5s\n\n  1. café ♫ 日本",
    " x ",
    "",
    "</s>",
  ):
    assert got.encode(text) == want.encode(text)
    assert got.decode(got.encode(text)) == want.decode(want.encode(text))


@pytest.mark.parametrize(
  ("metadata", "reason"),
  [
    ({}, "there is none"),
    ({"tokenizer__ggml__model": "bert"}, "it is of kind 'bert'"),
    (
      {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__pre": "llama-bpe"},
      r"it splits words as 'llama-bpe', and only \['smollm'\] is known",
    ),
  ],
)
def test_other_tokenizers_are_left_out_with_a_note(tmp_path, metadata, reason):
  source = read_gguf(write(tmp_path, tokenizer=None, **metadata))
  assert source.tokenizer is None
  assert re.search(
    f"tiny.gguf: its tokenizer is not read: {reason}", source.notes[1]
  )


def test_a_broken_tokenizer_is_an_error(tmp_path):
  def tokenizer(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b"])
    writer.add_token_types([1])

  with pytest.raises(ConversionError) as e:
    read_gguf(write(tmp_path, tokenizer=tokenizer))
  assert "inconsistent  tokenizer.ggml.token_type  1 values for 2" in str(
    e.value
  )
  assert "missing       tokenizer.ggml.merges" in str(e.value)

  def tokenizer(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*SPECIAL, "a", "b", "a"])
    writer.add_token_types([3, 3, 3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(6)

  with pytest.raises(ConversionError) as e:
    read_gguf(write(tmp_path, tokenizer=tokenizer))
  assert "tokenizer.ggml.merges        'a b' is no merge" in str(e.value)
  assert "tokenizer.ggml.eos_token_id  6 of 6 tokens" in str(e.value)
  assert "tokenizer.ggml.tokens        tokens are there twice" in str(e.value)
