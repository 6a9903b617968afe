"""Text to token ids and back, and the targets of a training example.

Letters: T tokens of one example.
"""

import io
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import sentencepiece

from ltu_jax.data import bpe_tokenizer, prompts
from ltu_jax.data.bpe_tokenizer import TokenizerError

MAX_TOKENS = 108
"""Text tokens of an example at most: `cutoff_len` of the published scripts."""

MODEL = "tokenizer.model"
"""What a SentencePiece model is called in a folder."""


class Tokenizer(Protocol):
  """What the rest of the code asks of a tokenizer.

  Attributes:
    vocab_size: Number of token ids, which are 0 to vocab_size - 1.
    bos_id: The id that begins every text.
    eos_id: The id that ends an answer.
    pad_id: The id that fills up a row; masked everywhere.
  """

  vocab_size: int
  bos_id: int
  eos_id: int
  pad_id: int

  def encode(self, text: str, *, bos: bool, eos: bool) -> list[int]:
    """Returns the ids of a text, with begin and end ids where asked."""
    ...

  def count(self, texts: Sequence[str]) -> list[int]:
    """Returns how many ids `encode` gives for each, begin and end id too.

    It takes all cores.
    """
    ...

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids; begin, end and pad ids have no text."""
    ...

  def save(self, folder: str | os.PathLike) -> None:
    """Writes it as files that `load_tokenizer` and transformers read."""
    ...


class SentencePieceTokenizer:
  """A SentencePiece model with LLaMA's conventions.

  Those are: unknown 0, begin 1, end 2, and no id of its own for padding, for
  which the published code takes 0. Text such as `</s>` inside a question is
  text and never becomes an end id.

  Attributes:
    vocab_size: Number of pieces.
    bos_id: 1.
    eos_id: 2.
    pad_id: 0.
    model: Bytes of the model file, to be kept beside a checkpoint.
  """

  bos_id = 1
  eos_id = 2
  pad_id = 0

  def __init__(self, model: str | os.PathLike | bytes):
    """Loads a model.

    Args:
      model: Path of a `.model` file, or its bytes.

    Raises:
      FileNotFoundError: If there is no such file.
      TokenizerError: If it is no SentencePiece model, or not one whose unknown,
        begin and end ids are 0, 1 and 2.
    """
    if isinstance(model, bytes):
      self.model, name = model, f"{len(model)} bytes"
    else:
      self.model, name = pathlib.Path(model).read_bytes(), os.fspath(model)
    self._processor = sentencepiece.SentencePieceProcessor()
    try:
      if not self.model:
        raise RuntimeError("it is empty")
      self._processor.LoadFromSerializedProto(self.model)
    except (RuntimeError, UnicodeDecodeError) as e:
      raise TokenizerError(f"{name}: not a SentencePiece model ({e})") from e
    p = self._processor
    ids = p.unk_id(), p.bos_id(), p.eos_id()
    if ids != (self.pad_id, self.bos_id, self.eos_id):
      raise TokenizerError(
        f"{name}: unknown, begin and end ids are {ids} and not LLaMA's"
        " (0, 1, 2); use LLaMA's tokenizer.model or train_sentencepiece"
      )
    self.vocab_size = p.get_piece_size()
    try:
      for id_ in range(self.vocab_size):
        p.id_to_piece(id_)
    except UnicodeDecodeError as e:
      raise TokenizerError(f"{name}: a piece is no UTF-8 ({e})") from e

  def encode(
    self, text: str, *, bos: bool = True, eos: bool = False
  ) -> list[int]:
    """Returns the ids of a text, with begin and end ids where asked."""
    ids = self._processor.encode(text)
    return [self.bos_id] * bos + ids + [self.eos_id] * eos

  def count(self, texts: Sequence[str]) -> list[int]:
    """Returns the lengths with begin and end id; see `Tokenizer`."""
    ids = self._processor.encode(list(texts), num_threads=os.cpu_count())
    return [len(some) + 2 for some in ids]

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids; ids 0, 1 and 2 have no text.

    The one space that SentencePiece puts before every text is taken off.

    Args:
      ids: Token ids, any integers that a list or an array gives.

    Raises:
      ValueError: If an id is outside the vocabulary.
    """
    ids = bpe_tokenizer.checked(ids, self.vocab_size)
    special = (self.pad_id, self.bos_id, self.eos_id)
    return self._processor.decode([i for i in ids if i not in special])

  def save(self, folder: str | os.PathLike) -> None:
    """Writes `tokenizer.model`, unchanged, and `tokenizer_config.json`.

    transformers' LlamaTokenizer reads them and gives the same ids; where a
    text begins with a space, transformers 5 gives one piece fewer.

    Args:
      folder: Where to; it must exist.
    """
    piece = self._processor.id_to_piece
    folder = pathlib.Path(folder)
    (folder / MODEL).write_bytes(self.model)
    config = {
      "add_bos_token": True,
      "add_eos_token": False,
      "bos_token": piece(self.bos_id),
      "clean_up_tokenization_spaces": False,
      "eos_token": piece(self.eos_id),
      "legacy": True,
      "pad_token": piece(self.pad_id),
      "tokenizer_class": "LlamaTokenizer",
      "unk_token": piece(self.pad_id),
    }
    bpe_tokenizer.write_config(folder, config)


def load_tokenizer(folder: str | os.PathLike) -> Tokenizer | None:
  """Loads the tokenizer that lies in a folder.

  Args:
    folder: Holds a SentencePiece `tokenizer.model`, which comes first, or a
      `tokenizer.json` with its `tokenizer_config.json`.

  Returns:
    The tokenizer, or None if the folder has neither file.

  Raises:
    TokenizerError: If the file that is there cannot be used; it names it.
  """
  folder = pathlib.Path(folder)
  if (folder / MODEL).exists():
    return SentencePieceTokenizer(folder / MODEL)
  if (folder / bpe_tokenizer.FILE).exists():
    return bpe_tokenizer.JsonTokenizer.from_folder(folder)
  return None


def train_sentencepiece(
  texts: Iterable[str], vocab_size: int, path: str | os.PathLike
) -> SentencePieceTokenizer:
  """Trains a tokenizer with LLaMA's settings and writes it to `path`.

  Byte-pair encoding on unchanged text, one piece a digit, bytes for what the
  vocabulary lacks. The same texts give the same bytes on any machine.

  Args:
    texts: The training texts; a new line ends a sentence, as new lines are
      encoded as a byte.
    vocab_size: Number of pieces. 259 are taken by the three control pieces
      and the bytes, one more by each character of the texts.
    path: The `.model` file to write; its folder must exist.

  Returns:
    The tokenizer.

  Raises:
    ValueError: If the texts are too few for so many pieces, or hold more
      characters than there are pieces for.
  """
  sentences = [line for text in texts for line in text.splitlines() if line]
  if not sentences:
    raise ValueError("no text to train a tokenizer on")
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(sentences),
      model_writer=model,
      vocab_size=vocab_size,
      # LLaMA's own settings, as its published tokenizer.model records them.
      model_type="bpe",
      character_coverage=0.99995,
      split_digits=True,
      byte_fallback=True,
      normalization_rule_name="identity",
      remove_extra_whitespaces=False,
      allow_whitespace_only_pieces=True,
      unk_id=0,
      bos_id=1,
      eos_id=2,
      pad_id=-1,
      # Several threads may order equal counts differently.
      num_threads=1,
      minloglevel=2,
    )
  except RuntimeError as e:
    # SentencePiece's message ends in the bound: "... a value <= 302".
    raise ValueError(
      f"a tokenizer of {vocab_size} pieces cannot be trained on"
      f" {len(sentences)} sentences; change the vocabulary size or give other"
      f" texts ({str(e).rsplit('] ', 1)[-1]})"
    ) from e
  pathlib.Path(path).write_bytes(model.getvalue())
  return SentencePieceTokenizer(model.getvalue())


def tokenize_example(
  tokenizer: Tokenizer,
  instruction: str,
  input: str,
  output: str,
  *,
  max_tokens: int = MAX_TOKENS,
  train_on_inputs: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a training example as the published code makes it.

  Begin id, prompt, answer, end id. What is longer than `max_tokens` is cut,
  and then has no end id, so that the model does not learn to stop there.

  Args:
    tokenizer: Text to ids.
    instruction: The question.
    input: More text of the question, empty in OpenAQA.
    output: The answer.
    max_tokens: T at most.
    train_on_inputs: Whether the prompt is a target too, as in all published
      scripts; otherwise only the answer is.

  Returns:
    tokens: int32 [T].
    loss_weights: float32 [T], 1 where the token is a target, predicted from
      the one before it; the first token (begin) is predicted from none.
  """
  text = prompts.build_full_text(instruction, input, output)
  # Adding the end id before cutting is the published rule: it is there exactly
  # when it fits.
  tokens = tokenizer.encode(text, bos=True, eos=True)[:max_tokens]
  num_given = 1
  if not train_on_inputs:
    prompt = prompts.build_prompt(instruction, input)
    num_given = len(tokenizer.encode(prompt, bos=True, eos=False))
  loss_weights = np.ones(len(tokens), np.float32)
  loss_weights[:num_given] = 0
  return np.array(tokens, np.int32), loss_weights
