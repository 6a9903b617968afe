"""Tokens and targets against those of the published code."""

import io
import json
import pathlib
import pickle

import numpy as np
import pytest
import sentencepiece
import transformers

from ltu_jax.data import prompts, tokenizer
from ltu_jax.data.bpe_tokenizer import TokenizerError
from ltu_jax.data.tokenizer import (
  SentencePieceTokenizer,
  load_tokenizer,
  tokenize_example,
  train_sentencepiece,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
PUBLISHED = json.loads((GOLDEN / "prompts.json").read_text())
CASES = PUBLISHED["cases"]
each_case = pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))


@pytest.fixture(scope="module")
def tiny():
  return SentencePieceTokenizer(GOLDEN / "tiny_spm.model")


@each_case
def test_prompt_ids_equal_the_published(tiny, case):
  prompt = prompts.build_prompt(case["instruction"], case["input"])
  assert tiny.encode(prompt) == case["inference_input_ids"]


@each_case
@pytest.mark.parametrize("mode", ["train_on_inputs", "answer_only"])
def test_examples_equal_the_published(tiny, case, mode):
  assert PUBLISHED["cutoff_len"] == tokenizer.MAX_TOKENS
  tokens, loss_weights = tokenize_example(
    tiny,
    case["instruction"],
    case["input"],
    case["output"],
    train_on_inputs=mode == "train_on_inputs",
  )
  assert tokens.dtype == np.int32
  assert loss_weights.dtype == np.float32
  assert tokens.tolist() == case[mode]["input_ids"]
  is_target = np.array(case[mode]["labels"]) != -100
  # The published label of the first token is never used in an unpadded row.
  is_target[0] = False
  np.testing.assert_array_equal(loss_weights, is_target)


def test_the_end_id_is_there_exactly_when_it_fits(tiny):
  example = ("What is heard?", "", "A dog barks.")
  whole, _ = tokenize_example(tiny, *example)
  n = len(whole)
  for max_tokens in (n + 1, n, n - 1, n - 2, 1):
    tokens, weights = tokenize_example(tiny, *example, max_tokens=max_tokens)
    assert tokens.tolist() == whole.tolist()[:max_tokens]
    assert (tokens[-1] == tiny.eos_id) == (max_tokens >= n)
    assert len(weights) == len(tokens)


def test_a_prompt_longer_than_the_cut_leaves_no_target(tiny):
  _, weights = tokenize_example(
    tiny, "Why? " * 99, "", "No.", train_on_inputs=False
  )
  assert len(weights) == 108
  assert not weights.any()


@pytest.mark.parametrize(
  "text", ["A dog barks; a bell.", "3.5s - 10.0s", "café ♫\nnew line", "  a  "]
)
def test_decode_is_the_inverse(tiny, text):
  assert tiny.decode(tiny.encode(text, bos=True, eos=True)) == text
  padded = [*tiny.encode(text), 0, 0]
  assert tiny.decode(np.array(padded, np.int32)) == text


def test_an_end_id_written_as_text_stays_text(tiny):
  ids = tiny.encode("stop </s> here <s>", bos=False)
  assert not {tiny.bos_id, tiny.eos_id} & set(ids)
  assert tiny.decode(ids) == "stop </s> here <s>"


def test_an_id_outside_the_vocabulary_is_an_error(tiny):
  with pytest.raises(ValueError, match=f"{tiny.vocab_size} is outside"):
    tiny.decode([5, tiny.vocab_size])
  with pytest.raises(ValueError, match="-100 is outside"):
    tiny.decode([-100])


def test_path_bytes_and_a_pickled_copy_are_the_same_tokenizer(tiny):
  path = GOLDEN / "tiny_spm.model"
  for other in (
    SentencePieceTokenizer(str(path)),
    SentencePieceTokenizer(path.read_bytes()),
    pickle.loads(pickle.dumps(tiny)),
  ):
    assert other.vocab_size == tiny.vocab_size
    assert other.encode("A bell rings.") == tiny.encode("A bell rings.")
    assert other.model == path.read_bytes()


def sentences():
  """A few hundred different sentences of a small vocabulary."""
  things = ["dog", "bell", "door", "train", "snare", "cymbal", "splash"]
  return [
    f"First a {a} is heard at {i}.{j}s, then a {b}.\nSecond line, café."
    for i, a in enumerate(things)
    for j, b in enumerate(things)
  ]


def test_training_gives_the_same_bytes_and_writes_them(tmp_path):
  a = train_sentencepiece(sentences(), 320, tmp_path / "a.model")
  b = train_sentencepiece(iter(sentences()), 320, tmp_path / "b.model")
  assert a.model == b.model == (tmp_path / "a.model").read_bytes()
  assert a.vocab_size == 320
  # Neither a path nor a time of this run is in the file.
  assert str(tmp_path).encode() not in a.model


def test_a_trained_tokenizer_follows_llamas_conventions(tmp_path):
  got = train_sentencepiece(sentences(), 320, tmp_path / "t.model")
  assert got.encode("dog", bos=True, eos=True)[0] == 1
  assert got.encode("dog", bos=True, eos=True)[-1] == 2
  # New line and unseen characters are bytes (byte b is id 3 + b), a digit is
  # one piece, and everything comes back.
  assert got.encode("\n", bos=False)[-1] == 3 + ord("\n")
  for text in ("a  dog\n\nat 12.5s", "日本 ♫", "### Response:\n"):
    assert got.decode(got.encode(text)) == text
  ids = got.encode("1234", bos=False)
  assert len([i for i in ids if got.decode([i])]) == 4


@pytest.mark.parametrize(
  ("texts", "vocab_size", "reason"),
  [
    ([], 1000, "no text"),
    (["", "\n"], 1000, "no text"),
    (["a bell"], 1000, r"1000 pieces cannot be .* 1 sentences.*<= \d+"),
    (sentences(), 260, "260 pieces cannot be trained.*smaller"),
  ],
)
def test_training_that_cannot_work_is_one_clear_error(
  tmp_path, texts, vocab_size, reason
):
  with pytest.raises(ValueError, match=reason):
    train_sentencepiece(texts, vocab_size, tmp_path / "t.model")
  assert not (tmp_path / "t.model").exists()


def test_what_is_no_model_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError):
    SentencePieceTokenizer(tmp_path / "missing.model")
  path = tmp_path / "text.model"
  for content in (b"", b"hello" * 20):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"text\.model: not a SentencePiece"):
      SentencePieceTokenizer(path)


def test_a_model_of_other_conventions_is_an_error(tmp_path):
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(sentences()),
    model_writer=model,
    vocab_size=50,
    pad_id=0,
    unk_id=1,
    bos_id=2,
    eos_id=3,
    minloglevel=2,
  )
  with pytest.raises(ValueError, match=r"are \(1, 2, 3\) and not LLaMA's"):
    SentencePieceTokenizer(model.getvalue())


def test_transformers_reads_what_is_saved(tiny, tmp_path):
  tiny.save(tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  assert isinstance(theirs, transformers.LlamaTokenizer)
  for text in (
    "A dog barks; a bell rings.",
    "at 12.5s  and\n\n1. café ♫ 日本語 🐶",
    "### Instruction:\nWhat is heard?\n\n### Response:",
    "",
  ):
    assert theirs(text)["input_ids"] == tiny.encode(text)
    ids = tiny.encode(text, eos=True)
    assert theirs.decode(ids, skip_special_tokens=True) == tiny.decode(ids)
  assert theirs.eos_token_id == tiny.eos_id
  assert theirs.pad_token_id == tiny.pad_id


def test_a_saved_tokenizer_is_loaded_again(tiny, tmp_path):
  tiny.save(tmp_path)
  got = load_tokenizer(tmp_path)
  assert isinstance(got, SentencePieceTokenizer)
  assert got.model == tiny.model
  (tmp_path / "tokenizer.model").write_bytes(b"hello")
  with pytest.raises(ValueError, match=r"tokenizer\.model: not a Sentence"):
    load_tokenizer(tmp_path)


def test_a_piece_that_is_no_text_is_an_error(tiny):
  # SentencePiece looks at the pieces of bytes alone, and quotes what is wrong.
  for piece, damaged, why in (
    (b"<0x00>", b"\x800x00>", "not a SentencePiece model"),
    (b"\x05\xe2\x96\x81do", b"\x05\xe2\x96\xffdo", "a piece is no UTF-8"),
  ):
    assert piece in tiny.model
    with pytest.raises(TokenizerError, match=why):
      SentencePieceTokenizer(tiny.model.replace(piece, damaged))
