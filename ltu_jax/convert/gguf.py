"""GGUF files of LLaMA architecture -> canonical names, float32.

GGUF keeps llama.cpp's names. The rows of each head's queries and keys are in
the order of interleaved rotation; ours are in Hugging Face's, halves.
"""

import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ltu_jax.convert import gguf_file, gguf_tokenizer
from ltu_jax.convert.gguf_file import GgufFile
from ltu_jax.convert.tensors import (
  ConversionError,
  Source,
  Tensor,
  problem_table,
)
from ltu_jax.models.llama import LlamaConfig

# llama.cpp's names (gguf-py, gguf/constants.py), without `.weight`.
_OUTSIDE = {
  "token_embd": "model.embed_tokens",
  "output_norm": "model.norm",
  "output": "lm_head",
}
_INSIDE = {
  "attn_norm": "input_layernorm",
  "attn_q": "self_attn.q_proj",
  "attn_k": "self_attn.k_proj",
  "attn_v": "self_attn.v_proj",
  "attn_output": "self_attn.o_proj",
  "ffn_norm": "post_attention_layernorm",
  "ffn_gate": "mlp.gate_proj",
  "ffn_up": "mlp.up_proj",
  "ffn_down": "mlp.down_proj",
}

# Metadata below `llama.` that changes nothing that is computed.
_HARMLESS = (
  "context_length",
  "rope.scaling.original_context_length",
  "tensor_data_layout",
)

# Metadata below `llama.` that changes nothing at these values.
_NEUTRAL = {
  "attention.causal": (True,),
  "expert_count": (0,),
  "expert_used_count": (0,),
  "rope.scale_linear": (1.0,),
  "rope.scaling.factor": (0.0, 1.0),
  "rope.scaling.finetuned": (False,),
  "rope.scaling.type": ("none",),
}


def read_gguf(path: str | os.PathLike) -> Source:
  """Opens a GGUF file as a LLaMA decoder with its tokenizer.

  Any quantization that the `gguf` library can undo is read. The output matrix
  is the embedding if the file has no `output.weight`.

  Args:
    path: the file. Each read opens it, reads one tensor and closes it.

  Returns:
    The decoder's tensors, float32; `parts` has "llama". Tensors of other names
    keep the file's. The tokenizer is None, with a note, if it is of a kind
    that is not read.

  Raises:
    ConversionError: no such file, or not one to read (see `open_gguf`); not
      of LLaMA architecture; metadata that is missing or asks for what ours
      has not, all in a table; a broken tokenizer.
  """
  file = gguf_file.open_gguf(path)
  config = _config(file)
  tensors = {}
  for name, stored in file.tensors.items():
    tensors[_canonical(name)] = Tensor(
      stored.shape,
      np.dtype(np.float32),
      _reader(file, name, config),
      f"{file.path}: {name}",
    )
  tokenizer, note = gguf_tokenizer.read_tokenizer(file)
  if tokenizer is not None and tokenizer.vocab_size > config.vocab:
    raise ConversionError(
      f"{file.path}: its tokenizer has {tokenizer.vocab_size} ids and its"
      f" embedding {config.vocab} rows"
    )
  kinds = Counter(t.kind.name for t in file.tensors.values())
  counts = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
  notes = f"{file.path}: tensors dequantized to float32 ({counts})", note
  return Source(tensors, {"llama": config}, {}, tokenizer, notes)


def _canonical(name: str) -> str:
  """The canonical name of a tensor; its own if there is none."""
  stem, _, leaf = name.rpartition(".")
  if leaf == "weight":
    if stem in _OUTSIDE:
      return f"{_OUTSIDE[stem]}.weight"
    match = re.fullmatch(r"blk\.(0|[1-9][0-9]*)\.(\w+)", stem)
    if match and match[2] in _INSIDE:
      return f"model.layers.{match[1]}.{_INSIDE[match[2]]}.weight"
  return name


def _reader(
  file: GgufFile, name: str, config: LlamaConfig
) -> Callable[[], np.ndarray]:
  """What reads a tensor, in Hugging Face's order of rows."""
  canonical = _canonical(name)
  if canonical.endswith("self_attn.q_proj.weight"):
    heads = config.heads
  elif canonical.endswith("self_attn.k_proj.weight"):
    heads = config.kv_heads
  else:
    return lambda: file.read(name)
  return lambda: to_halves(file.read(name), heads)


def to_halves(weight: np.ndarray, heads: int) -> np.ndarray:
  """Reorders a query or key projection for rotation in halves.

  Args:
    weight: [heads * H, D]; rows 2i and 2i + 1 of a head turn together.
    heads: query or key/value heads.

  Returns:
    The same; rows i and i + H / 2 of a head turn together.
  """
  pairs = weight.reshape(heads, -1, 2, *weight.shape[1:])
  return pairs.swapaxes(1, 2).reshape(weight.shape)


class _Reader:
  """Takes metadata below `llama.` and collects what is wrong with it."""

  def __init__(self, file: GgufFile):
    self.left = {
      key.removeprefix("llama."): value
      for key, value in file.metadata.items()
      if key.startswith("llama.")
    }
    self.problems: list[tuple[str, str, str]] = []

  def add(self, problem: str, key: str, detail: str) -> None:
    self.problems.append((problem, f"llama.{key}", detail))

  def take(self, key: str, default: Any = None, kind: type = int) -> Any:
    """A positive number, which has to be there if it has no default."""
    value = self.left.pop(key, default)
    if value is None:
      self.add("missing", key, "")
    elif type(value) not in (int, kind) or not 0 < value < float("inf"):
      self.add("unsupported", key, f"{value!r}; it must be one number above 0")
    else:
      return kind(value)
    return kind(1)  # Goes on, to find what else is wrong.

  def finish(self) -> None:
    """Adds what is left and asks for something that ours has not."""
    for key, value in self.left.items():
      if key not in _HARMLESS and value not in _NEUTRAL.get(key, ()):
        shown = repr(value)
        self.add("unsupported", key, shown if len(shown) < 60 else "a list")


def _config(file: GgufFile) -> LlamaConfig:
  """The decoder's sizes.

  Raises:
    ConversionError: another architecture, or a table of all that is missing
      or unsupported.
  """
  metadata = file.metadata
  if (found := metadata.get("general.architecture")) != "llama":
    raise ConversionError(
      f"{file.path}: general.architecture is {found!r}; only llama is read"
    )
  reader = _Reader(file)
  heads = reader.take("attention.head_count")
  dim = reader.take("embedding_length")
  head_dim = reader.take("attention.key_length", max(1, dim // heads))
  sizes = {
    "dim": dim,
    "heads": heads,
    "head_dim": head_dim,
    "layers": reader.take("block_count"),
    "mlp_dim": reader.take("feed_forward_length"),
    # Defaults as llama.cpp has them.
    "kv_heads": reader.take("attention.head_count_kv", heads),
    "rope_base": reader.take("rope.freq_base", 10000.0, float),
    "norm_eps": reader.take("attention.layer_norm_rms_epsilon", None, float),
    "vocab": _vocab(file, reader),
    "tied": "output.weight" not in file.tensors,
  }
  for key in ("attention.value_length", "rope.dimension_count"):
    if (size := reader.take(key, head_dim)) != head_dim:
      reader.add("unsupported", key, f"{size}; heads are {head_dim} wide")
  reader.finish()
  if (parts := metadata.get("split.count", 1)) not in (0, 1):
    reader.problems.append(
      ("unsupported", "split.count", f"{parts}: merge the files first")
    )
  if not reader.problems:
    try:
      return LlamaConfig(**sizes)
    except ValueError as e:
      reader.problems.append(("inconsistent", "llama", str(e)))
  raise ConversionError(
    f"{file.path}: cannot be read as a LLaMA decoder\n"
    + problem_table(reader.problems)
  )


def _vocab(file: GgufFile, reader: _Reader) -> int:
  """Rows of the embedding; without one, what the metadata says."""
  stated = reader.left.pop("vocab_size", None)
  if (embedding := file.tensors.get("token_embd.weight")) is not None:
    return embedding.shape[0]
  reader.left["vocab_size"] = stated or gguf_tokenizer.count_tokens(file)
  return reader.take("vocab_size")
