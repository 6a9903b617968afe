"""Reads a sentence-transformers folder that `bert.py` can compute.

FOLDER/modules.json                       Transformer, Pooling, maybe Normalize
FOLDER/config.json, weights, tokenizer.json   a BERT encoder and WordPiece
FOLDER/sentence_bert_config.json          length at which texts are cut
FOLDER/1_Pooling/config.json              the mean over tokens

What such a folder can ask for and `bert.py` cannot compute is refused, not
ignored.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers

from ltu_jax import json_text, tree_names
from ltu_jax.convert.files import open_weights, read_json
from ltu_jax.convert.tensors import ConversionError, Tensor
from ltu_jax.evaluate.embeddings.bert import ACTIVATIONS, BertConfig
from ltu_jax.evaluate.errors import EvaluateError

_PIPELINES = (
  ["Transformer", "Pooling"],
  ["Transformer", "Pooling", "Normalize"],
)

# Key -> the values that mean what bert.py computes.
_MODEL = {
  "model_type": ("bert",),
  "hidden_act": (None, *ACTIVATIONS),
  "position_embedding_type": (None, "absolute"),
  "is_decoder": (None, False),
  "add_cross_attention": (None, False),
  "quantization_config": (None,),
}
_TEXT = {
  "transformer_task": (None, "feature-extraction"),
  "module_output_name": (None, "token_embeddings"),
  "do_lower_case": (None, False),
}
_POOLING = {"pooling_mode": (None, "mean", ["mean"])}
_PROMPTS = {"default_prompt_name": (None,)}

_OLD_POOLING = "pooling_mode_mean_tokens"
"""Before sentence-transformers 6: one flag for each kind of pooling."""

# Ours -> theirs.
_DENSE = {
  "query": "attention.self.query",
  "key": "attention.self.key",
  "value": "attention.self.value",
  "out": "attention.output.dense",
  "up": "intermediate.dense",
  "down": "output.dense",
}
_NORMS = {
  "out_norm": "attention.output.LayerNorm",
  "down_norm": "output.LayerNorm",
}


class UnsupportedError(EvaluateError):
  """A folder that JAX cannot do here; sentence-transformers may."""


@dataclasses.dataclass(frozen=True)
class SentenceFiles:
  """A model of sentences as its files say.

  Attributes:
    config: What the weights' shapes do not say.
    weights: float32; see `bert.embed`.
    tokenizer: Adds [CLS] and [SEP], cuts at `max_length`, does not pad.
    max_length: Tokens of a text at most.
    hash: Hexadecimal digits over all of these.
  """

  config: BertConfig
  weights: Mapping[str, Any]
  tokenizer: tokenizers.Tokenizer
  max_length: int
  hash: str


def read(folder: pathlib.Path) -> SentenceFiles:
  """Reads a folder.

  Raises:
    UnsupportedError: It is another kind of model, or damaged; says how.
  """
  try:
    return _read(folder)
  except ConversionError as error:
    raise UnsupportedError(str(error)) from error


def _read(folder: pathlib.Path) -> SentenceFiles:
  """`read`, with the errors of the readers of weights."""
  encoder, pooling = _modules(folder)
  model = _checked(encoder / "config.json", _MODEL)
  text = _checked(encoder / "sentence_bert_config.json", _TEXT, optional=True)
  names = folder / "config_sentence_transformers.json"
  _checked(names, _PROMPTS, optional=True)
  _check_pooling(pooling / "config.json")
  weights = _weights(open_weights(encoder), model, encoder)
  tokenizer, max_length = _tokenizer(encoder, text, weights)
  config = BertConfig(
    num_heads=_number(model, "num_attention_heads", encoder),
    epsilon=model.get("layer_norm_eps", 1e-12),
    activation=model.get("hidden_act") or "gelu",
  )
  if weights["word"].shape[1] % config.num_heads:
    raise UnsupportedError(f"{encoder}: its heads do not divide its width.")
  hashes = {
    name: tree_names.array_hash(name, array)
    for name, array in tree_names.leaves(weights).items()
  }
  hashes["config"] = repr(config)
  hashes["tokenizer"] = tokenizer.to_str()
  content = tree_names.combined_hash(hashes)
  return SentenceFiles(config, weights, tokenizer, max_length, content)


def _modules(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Where the encoder's and the pooling's files are."""
  path = folder / "modules.json"
  try:
    modules = json_text.read(path)
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    places = [folder / module["path"] for module in modules]
  except OSError as error:
    raise UnsupportedError(
      f"{path}: cannot be read: {error.strerror}. A folder of"
      " sentence-transformers has this file."
    ) from error
  except (ValueError, TypeError, LookupError) as error:
    raise UnsupportedError(f"{path}: is not a list of modules.") from error
  if kinds not in _PIPELINES:
    raise UnsupportedError(
      f"{path}: {', '.join(kinds) or 'nothing'}, and JAX does Transformer,"
      " Pooling, Normalize here."
    )
  return places[0], places[1]


def _checked(
  path: pathlib.Path,
  fixed: Mapping[str, Sequence[Any]],
  optional: bool = False,
) -> dict[str, Any]:
  """A file's values, if they mean what is computed here."""
  if optional and not path.exists():
    return {}
  values = read_json(path)
  for key, good in fixed.items():
    if values.get(key) not in good:
      raise UnsupportedError(
        f"{path}: {key} is {values.get(key)!r}, which JAX does not do here."
      )
  return values


def _check_pooling(path: pathlib.Path) -> None:
  """Pooling has to be the mean, and nothing beside it."""
  values = _checked(path, _POOLING)
  if "pooling_mode" in values:
    return
  kinds = [k for k, v in values.items() if k.startswith("pooling_mode_") and v]
  if kinds not in ([], [_OLD_POOLING]):
    raise UnsupportedError(
      f"{path}: {', '.join(kinds)}, and JAX does the mean over tokens here."
    )


def _number(values: Mapping[str, Any], key: str, folder: pathlib.Path) -> int:
  """A positive whole number of config.json."""
  value = values.get(key)
  if not isinstance(value, int) or value < 1:
    raise UnsupportedError(f"{folder / 'config.json'}: {key} is {value!r}.")
  return value


def _weights(
  tensors: Mapping[str, Tensor],
  model: Mapping[str, Any],
  folder: pathlib.Path,
) -> dict[str, Any]:
  """The tree that `bert.embed` takes."""
  # Files of a whole BertModel and of one with a head on top.
  head = "" if "embeddings.LayerNorm.weight" in tensors else "bert."

  def get(name: str) -> np.ndarray:
    if head + name not in tensors:
      raise UnsupportedError(f"{folder}: its weights have no {head}{name}.")
    return np.asarray(tensors[head + name].read(), np.float32)

  def stack(name: str) -> np.ndarray:
    layers = range(_number(model, "num_hidden_layers", folder))
    return np.stack([get(f"encoder.layer.{i}.{name}") for i in layers])

  layers = {
    ours: {"kernel": stack(f"{name}.weight"), "bias": stack(f"{name}.bias")}
    for ours, name in _DENSE.items()
  }
  layers |= {
    ours: {"scale": stack(f"{name}.weight"), "bias": stack(f"{name}.bias")}
    for ours, name in _NORMS.items()
  }
  return {
    "word": get("embeddings.word_embeddings.weight"),
    "position": get("embeddings.position_embeddings.weight"),
    # All tokens are of the first of BERT's two kinds of segments.
    "type": get("embeddings.token_type_embeddings.weight")[0],
    "norm": {
      "scale": get("embeddings.LayerNorm.weight"),
      "bias": get("embeddings.LayerNorm.bias"),
    },
    "layers": layers,
  }


def _tokenizer(
  folder: pathlib.Path, text: Mapping[str, Any], weights: Mapping[str, Any]
) -> tuple[tokenizers.Tokenizer, int]:
  """The tokenizer, and where it cuts, as sentence-transformers has it."""
  path = folder / "tokenizer.json"
  named = _checked(folder / "tokenizer_config.json", {}, optional=True)
  try:
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
  except Exception as error:  # The library raises nothing more special.
    raise UnsupportedError(f"{path}: cannot be read: {error}") from error
  if not isinstance(tokenizer.model, tokenizers.models.WordPiece):
    raise UnsupportedError(f"{path}: is no WordPiece.")
  if tokenizer.get_vocab_size() > len(weights["word"]):
    raise UnsupportedError(f"{path}: has more pieces than the model has.")
  lowers = getattr(tokenizer.normalizer, "lowercase", None)
  if named.get("do_lower_case", lowers) != lowers:
    raise UnsupportedError(
      f"{path}: does not agree with tokenizer_config.json about small letters."
    )
  limits = [text.get("max_seq_length") or named.get("model_max_length")]
  limits.append(len(weights["position"]))
  max_length = int(min(limit for limit in limits if limit))
  tokenizer.no_padding()
  tokenizer.enable_truncation(max_length)
  return tokenizer, max_length
