"""Tokenizers of the `tokenizers` library, read from a `tokenizer.json`.

LLaMA-architecture models after LLaMA 2 come with one: byte-level byte-pair
encoding, mostly. The file says how text becomes pieces; the names of the
begin, end and padding tokens are in the `tokenizer_config.json` beside it.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

from ltu_jax import json_text

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
_MAP = "special_tokens_map.json"
_NAMES = ("bos_token", "eos_token", "pad_token")
_UNKNOWN = "unk_token"


class TokenizerError(ValueError):
  """A tokenizer that cannot be used; names its file and says why."""


class JsonTokenizer:
  """A `tokenizer.json` behind the same promises as SentencePieceTokenizer.

  Text such as `<|im_end|>` inside a question is text and never becomes a
  special id. Nothing is added to a text, cut from it or drawn by chance,
  whatever the file says: its post-processor, truncation, padding and dropout
  are off, and merges that would spell out a special token are left out.

  Attributes:
    vocab_size: Largest id + 1, added tokens among them: rows that an
      embedding needs.
    bos_id: The id of `bos_token`. A file that names none gets that of
      `eos_token`: in the training of such models it stands between texts, and
      the `config.json` of Qwen2 gives it as `bos_token_id`.
    eos_id: The id of `eos_token`.
    pad_id: The id of `pad_token`. A file that names none gets that of
      `eos_token`; padding is masked everywhere.
    model: Bytes of the `tokenizer.json`, to be kept beside a checkpoint.
    config: What `tokenizer_config.json` holds.
  """

  def __init__(
    self, model: str | os.PathLike | bytes, config: Mapping[str, Any]
  ):
    """Loads a tokenizer.

    Args:
      model: Path of a `tokenizer.json`, or its bytes.
      config: Gives `bos_token`, `eos_token` and `pad_token`, each a string, a
        mapping with "content", None or not there; the rest is kept for `save`.

    Raises:
      FileNotFoundError: If there is no such file.
      TokenizerError: If it is no tokenizer file, names no end token, names
        tokens that it lacks, or turns the text of a special token into its id.
    """
    if isinstance(model, bytes):
      self.model, name = model, f"{len(model)} bytes"
    else:
      self.model, name = pathlib.Path(model).read_bytes(), os.fspath(model)
    self.config = dict(config)
    named = {key: _content(self.config, key, name) for key in _NAMES}
    if named["eos_token"] is None:
      raise TokenizerError(
        f"{name}: no eos_token is named; add it to {CONFIG}, such as"
        ' {"eos_token": "</s>"}'
      )
    data = _parse(self.model, name)
    self._tokenizer = _load(_as_used(data, set(named.values())), name)
    self._check_ids(data["added_tokens"], named, name)
    ids = {k: self._tokenizer.token_to_id(v) for k, v in named.items() if v}
    self.eos_id: int = ids["eos_token"]
    self.bos_id: int = ids.get("bos_token", self.eos_id)
    self.pad_id: int = ids.get("pad_token", self.eos_id)
    vocab = self._tokenizer.get_vocab(with_added_tokens=True)
    self.vocab_size = max(vocab.values()) + 1
    self._check_specials(named, name)

  @classmethod
  def from_folder(cls, folder: str | os.PathLike) -> "JsonTokenizer":
    """Loads the tokenizer of a Hugging Face folder.

    Args:
      folder: Holds `tokenizer.json`, and `tokenizer_config.json` or
        `special_tokens_map.json`; where both name a token, the first counts.

    Raises:
      FileNotFoundError: If there is no `tokenizer.json`.
      TokenizerError: As the constructor; or neither of the other two is there.
    """
    folder = pathlib.Path(folder)
    found = [p for p in (folder / _MAP, folder / CONFIG) if p.exists()]
    config = {}
    for path in found:
      config |= _object(path.read_bytes(), os.fspath(path))
    path = folder / FILE
    if path.exists() and not found:
      raise TokenizerError(
        f"{path}: neither {CONFIG} nor {_MAP} is beside it, so its begin and"
        " end tokens have no names; copy one of them there"
      )
    return cls(path, config)

  def __reduce__(self):
    """Pickles what it was made of: the library forgets part of its state."""
    return JsonTokenizer, (self.model, self.config)

  def encode(
    self, text: str, *, bos: bool = True, eos: bool = False
  ) -> list[int]:
    """Returns the ids of a text, with begin and end ids where asked."""
    ids = self._tokenizer.encode(text, add_special_tokens=False).ids
    return [self.bos_id] * bos + ids + [self.eos_id] * eos

  def count(self, texts: Sequence[str]) -> list[int]:
    """Returns the lengths with begin and end id, of many texts at once."""
    found = self._tokenizer.encode_batch_fast(
      list(texts), add_special_tokens=False
    )
    return [len(one) + 2 for one in found]

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids; those of special tokens have no text.

    Args:
      ids: Token ids, any integers that a list or an array gives.

    Raises:
      ValueError: If an id is outside the vocabulary.
    """
    ids = checked(ids, self.vocab_size)
    return self._tokenizer.decode(ids, skip_special_tokens=True)

  def save(self, folder: str | os.PathLike) -> None:
    """Writes `tokenizer.json`, unchanged, and `tokenizer_config.json`.

    `load_tokenizer` and transformers' AutoTokenizer read them. The latter is
    told to take the file as it is: by the name of a model's own class it would
    build parts of the tokenizer anew. Tokens are named by their text alone,
    and names of code are left out.

    Args:
      folder: Where to; it must exist.
    """
    config = {
      "model_input_names": ["input_ids", "attention_mask"],
      **self.config,
      **{k: _content(self.config, k, FILE) for k in (*_NAMES, _UNKNOWN)},
      "tokenizer_class": "PreTrainedTokenizerFast",
    }
    config.pop("auto_map", None)
    folder = pathlib.Path(folder)
    (folder / FILE).write_bytes(self.model)
    write_config(folder, config)

  def _check_ids(
    self, added: Sequence[dict], named: Mapping[str, str | None], name: str
  ) -> None:
    """Raises unless added tokens have the file's ids and named ones are there.

    The library numbers added tokens itself where the file leaves a gap.
    """
    for token in added:
      got = self._tokenizer.token_to_id(token["content"])
      if got != token["id"]:
        raise TokenizerError(
          f"{name}: the added token {token['content']!r} has id {token['id']}"
          f" in the file but would get {got}; the file is not consistent"
        )
    for key, content in named.items():
      if content and self._tokenizer.token_to_id(content) is None:
        raise TokenizerError(
          f"{name}: has no token {content!r}, which {CONFIG} names as {key};"
          " mend the name there or take it out"
        )

  def _check_specials(self, named: Mapping[str, str | None], name: str) -> None:
    """Raises if the text of a special token gives a special id."""
    special = {
      id_: token.content
      for id_, token in self._tokenizer.get_added_tokens_decoder().items()
      if token.special
    }
    unknown = _content(self.config, _UNKNOWN, name)
    for content in special.values():
      found = special.keys() & set(self.encode(content, bos=False))
      # What has no pieces may become the unknown token, if it is only that.
      if unknown not in named.values():
        found = {i for i in found if special[i] != unknown}
      if found:
        raise TokenizerError(
          f"{name}: the text {content!r} becomes the special id {min(found)};"
          " a question that contains it would end there, so this tokenizer"
          " cannot be used"
        )


def checked(ids: Sequence[int], vocab_size: int) -> list[int]:
  """Token ids as plain integers.

  Raises:
    ValueError: If an id is outside the vocabulary.
  """
  ids = [int(i) for i in ids]
  if outside := [i for i in ids if not 0 <= i < vocab_size]:
    raise ValueError(
      f"token id {outside[0]} is outside the vocabulary of {vocab_size}"
    )
  return ids


def write_config(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Writes a `tokenizer_config.json`: the same bytes for the same config."""
  text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
  # JSON can spell half a character, which UTF-8 cannot.
  data = f"{text}\n".encode(errors="replace")
  (folder / CONFIG).write_bytes(data)


def _content(config: Mapping[str, Any], key: str, name: str) -> str | None:
  """The text of a token that the config names, None if it does not."""
  token = config.get(key)
  if isinstance(token, Mapping):
    token = token.get("content")
  if token is not None and not isinstance(token, str):
    raise TokenizerError(
      f"{name}: {key} is {token!r} in {CONFIG}; give its text"
    )
  return token or None


def _object(text: bytes, name: str) -> dict[str, Any]:
  """Parses a file that holds one JSON object."""
  try:
    data = json_text.parse(text)
  except ValueError as e:
    raise TokenizerError(f"{name}: not a JSON file ({e})") from e
  if not isinstance(data, dict):
    raise TokenizerError(f"{name}: holds no JSON object")
  return data


def _parse(text: bytes, name: str) -> dict[str, Any]:
  """Parses a `tokenizer.json` as far as it is changed here."""
  data = _object(text, name)
  added = data.setdefault("added_tokens", [])
  model = data.get("model")
  if not (
    isinstance(model, dict)
    and isinstance(added, list)
    and all(
      isinstance(t, dict)
      and isinstance(t.get("content"), str)
      and type(t.get("id")) is int
      for t in added
    )
    and isinstance(model.get("merges", []), list)
    and all(map(_is_merge, model.get("merges", [])))
  ):
    raise TokenizerError(
      f"{name}: not a tokenizer file; it must be a {FILE} of the"
      " tokenizers library"
    )
  return data


def _is_merge(merge: object) -> bool:
  """Whether it is "a b" or ["a", "b"]."""
  if isinstance(merge, list):
    return all(isinstance(part, str) for part in merge)
  return isinstance(merge, str)


def _as_used(data: Mapping[str, Any], named: set[str | None]) -> dict[str, Any]:
  """The file's content without what makes ids that are not the text's.

  Args:
    data: What the file holds.
    named: Tokens that are special whatever the file says; None is ignored.
  """
  model = dict(data["model"])
  added = [
    dict(t, special=t.get("special", False) or t["content"] in named)
    for t in data["added_tokens"]
  ]
  vocab = model.get("vocab")
  there = {t["content"] for t in added}
  for content in sorted(named - there - {None}):
    if isinstance(vocab, dict) and content in vocab:
      added.append(
        {
          "id": vocab[content],
          "content": content,
          "single_word": False,
          "lstrip": False,
          "rstrip": False,
          "normalized": False,
          "special": True,
        }
      )
  if "merges" in model:
    special = {t["content"] for t in added if t["special"]}
    join = lambda m: m.replace(" ", "") if isinstance(m, str) else "".join(m)
    merges = [m for m in model["merges"] if join(m) not in special]
    model |= {"merges": merges, "dropout": None}
  off = dict.fromkeys(("truncation", "padding", "post_processor"))
  return {**data, **off, "added_tokens": added, "model": model}


def _load(data: Mapping[str, Any], name: str) -> tokenizers.Tokenizer:
  """Makes the library's tokenizer."""
  try:
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(data))
  except Exception as e:
    # The library has no class of its own for a file that it cannot read.
    if type(e) is not Exception:
      raise
    raise TokenizerError(f"{name}: not a tokenizer file ({e})") from e
  tokenizer.encode_special_tokens = True
  return tokenizer
