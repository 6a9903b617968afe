"""The tokenizer in a GGUF file's metadata.

Two kinds are read: "llama", SentencePiece's byte-pair encoding, and "gpt2",
byte-level byte-pair encoding, which needs to know where words end. llama.cpp
knows that by the name in `tokenizer.ggml.pre`; here one such name is known.
"""

import json
from collections.abc import Mapping
from typing import Any

from sentencepiece import sentencepiece_model_pb2 as sentencepiece_model

from ltu_jax.convert.gguf_file import GgufFile
from ltu_jax.convert.tensors import ConversionError, problem_table
from ltu_jax.data.bpe_tokenizer import JsonTokenizer
from ltu_jax.data.tokenizer import SentencePieceTokenizer, Tokenizer

_KEY = "tokenizer.ggml."
TOKENS = _KEY + "tokens"

# gguf-py, gguf.TokenType; SentencePiece's own numbers.
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4

PRE_TOKENIZERS = {
  # Every digit alone, then GPT-2's words: for this name llama.cpp has the
  # patterns \p{N} and GPT-2's, in this order (src/llama-vocab.cpp).
  "smollm": {
    "type": "Sequence",
    "pretokenizers": [
      {"type": "Digits", "individual_digits": True},
      {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
      },
    ],
  },
}
"""`tokenizer.ggml.pre` -> the `pre_tokenizer` of a tokenizer.json."""


def read_tokenizer(file: GgufFile) -> tuple[Tokenizer | None, str]:
  """Makes the tokenizer of a GGUF file.

  Args:
    file: The open file.

  Returns:
    The tokenizer, None if the file has none or one of another kind, and a
    line that says what was found.

  Raises:
    ConversionError: Metadata of a kind that is read is missing or does not
      fit together, all in a table.
  """
  kind = file.metadata.get(_KEY + "model")
  pre = file.metadata.get(_KEY + "pre")
  if kind == "gpt2" and pre in PRE_TOKENIZERS:
    tokenizer = _byte_level(file, PRE_TOKENIZERS[pre])
    found = f"byte-level BPE ({pre}) of {tokenizer.vocab_size} ids"
    return tokenizer, f"{file.path}: tokenizer from its metadata: {found}"
  if kind == "gpt2":
    reason = (
      f"it splits words as {pre!r}, and only {sorted(PRE_TOKENIZERS)} is known;"
      " give the model's tokenizer.json"
    )
  elif kind == "llama":
    return _sentencepiece(file)
  elif kind is None:
    reason = "there is none; give the model's tokenizer.model or tokenizer.json"
  else:
    reason = f"it is of kind {kind!r}; give the model's tokenizer.json"
  return None, f"{file.path}: its tokenizer is not read: {reason}"


def count_tokens(file: GgufFile) -> int | None:
  """How many tokens the metadata lists, None if it has no such list."""
  tokens = file.metadata.get(TOKENS)
  return len(tokens) if isinstance(tokens, list) else None


def _lists(file: GgufFile, kinds: Mapping[str, type]) -> dict[str, list]:
  """Metadata lists, which have to be there and, but for merges, of one length.

  Args:
    file: The open file.
    kinds: Key below `tokenizer.ggml.` -> type of its elements.

  Raises:
    ConversionError: A table of what is wrong.
  """
  problems, found = [], {}
  count = count_tokens(file)
  for key, kind in kinds.items():
    values = found[key] = file.metadata.get(_KEY + key)
    if values is None:
      problems.append(("missing", _KEY + key, ""))
    elif not isinstance(values, list) or not all(
      isinstance(v, kind) for v in values
    ):
      detail = f"it must be a list of {kind.__name__}"
      problems.append(("unsupported", _KEY + key, detail))
    elif key != "merges" and len(values) != count:
      detail = f"{len(values)} values for {count} tokens"
      problems.append(("inconsistent", _KEY + key, detail))
  if problems:
    raise _error(file, problem_table(problems))
  return found


def _error(file: GgufFile, what: str) -> ConversionError:
  return ConversionError(f"{file.path}: its tokenizer cannot be read\n{what}")


def _byte_level(file: GgufFile, pre: Mapping[str, Any]) -> JsonTokenizer:
  """Byte-level byte-pair encoding, written as a tokenizer.json."""
  found = _lists(file, {"tokens": str, "token_type": int, "merges": str})
  tokens, types = found["tokens"], found["token_type"]
  vocab = {token: i for i, token in enumerate(tokens)}
  config, problems = {"clean_up_tokenization_spaces": False}, []
  if len(vocab) != len(tokens):
    problems.append(("inconsistent", TOKENS, "tokens are there twice"))
  merges = [merge.split(" ") for merge in found["merges"]]
  if odd := [
    m for m in merges if len(m) != 2 or not {*m, "".join(m)} <= vocab.keys()
  ]:
    detail = f"{' '.join(odd[0])!r} is no merge of two tokens to a token"
    problems.append(("inconsistent", _KEY + "merges", detail))
  for key, name in (
    ("bos_token_id", "bos_token"),
    ("eos_token_id", "eos_token"),
    ("padding_token_id", "pad_token"),
    ("unknown_token_id", "unk_token"),
  ):
    if (id_ := file.metadata.get(_KEY + key)) is None:
      continue
    if not isinstance(id_, int) or not 0 <= id_ < len(tokens):
      detail = f"{id_!r} of {len(tokens)} tokens"
      problems.append(("inconsistent", _KEY + key, detail))
    else:
      config[name] = tokens[id_]
  if problems:
    raise _error(file, problem_table(problems))
  if template := file.metadata.get("tokenizer.chat_template"):
    config["chat_template"] = template
  added = [
    {
      "id": i,
      "content": token,
      "single_word": False,
      "lstrip": False,
      "rstrip": False,
      "normalized": False,
      "special": kind == _CONTROL,
    }
    for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
    if kind in (_CONTROL, _USER_DEFINED)
  ]
  data = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": added,
    "normalizer": None,
    "pre_tokenizer": pre,
    "post_processor": None,
    "decoder": {
      "type": "ByteLevel",
      "add_prefix_space": True,
      "trim_offsets": True,
      "use_regex": True,
    },
    "model": {"type": "BPE", "vocab": vocab, "merges": merges},
  }
  text = json.dumps(data, ensure_ascii=False).encode()
  try:
    return JsonTokenizer(text, config)
  except ValueError as e:
    raise _error(file, str(e)) from e


def _sentencepiece(file: GgufFile) -> tuple[Tokenizer | None, str]:
  """A SentencePiece model: LLaMA's settings, the file's pieces."""
  found = _lists(file, {"tokens": str, "token_type": int, "scores": float})
  metadata = file.metadata
  other = [
    f"{key} is {metadata[_KEY + key]!r}"
    for key, ours in (
      ("unknown_token_id", 0),
      ("bos_token_id", 1),
      ("eos_token_id", 2),
    )
    if metadata.get(_KEY + key, ours) != ours
  ]
  if _KEY + "precompiled_charsmap" in metadata:
    other.append("it changes the text's characters")
  if other:
    return None, (
      f"{file.path}: its tokenizer is not read, for it is not LLaMA's kind of"
      f" SentencePiece: {', '.join(other)}"
    )
  try:
    model = _sentencepiece_model(found, metadata)
    tokenizer = SentencePieceTokenizer(model)
  except ValueError as e:
    raise _error(file, str(e)) from e
  return tokenizer, (
    f"{file.path}: tokenizer from its metadata: SentencePiece BPE of"
    f" {tokenizer.vocab_size} ids, with LLaMA's settings"
  )


def _sentencepiece_model(
  found: Mapping[str, list], metadata: Mapping[str, Any]
) -> bytes:
  """The bytes of a `.model` file with the pieces of a GGUF file.

  Raises:
    ValueError: a type of token that SentencePiece has not.
  """
  model = sentencepiece_model.ModelProto()
  for piece, score, kind in zip(
    found["tokens"], found["scores"], found["token_type"], strict=True
  ):
    model.pieces.add(piece=piece, score=score, type=kind)
  # LLaMA's own settings, as in data/tokenizer.py: GGUF does not keep them.
  trainer, normalizer = model.trainer_spec, model.normalizer_spec
  trainer.model_type = trainer.BPE
  trainer.vocab_size = len(model.pieces)
  trainer.byte_fallback = True
  trainer.split_digits = True
  trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
  normalizer.name = "identity"
  normalizer.add_dummy_prefix = bool(
    metadata.get(_KEY + "add_space_prefix", True)
  )
  normalizer.remove_extra_whitespaces = bool(
    metadata.get(_KEY + "remove_extra_whitespaces", False)
  )
  return model.SerializeToString(deterministic=True)
