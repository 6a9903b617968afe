"""Small GGUF files, written by the gguf library."""

import json
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from sentencepiece import sentencepiece_model_pb2

from tiny_bpe import tiny_bpe

SPM = pathlib.Path(__file__).parent / "golden" / "tiny_spm.model"

SIZES = {
  "embedding_length": 64,
  "block_count": 2,
  "feed_forward_length": 96,
  "attention.head_count": 4,
  "attention.head_count_kv": 2,
}
NUMBERS = {
  "rope.freq_base": 5e4,
  "attention.layer_norm_rms_epsilon": 1e-5,
}
VOCAB = 300


def shapes(tied: bool) -> dict[str, tuple[int, ...]]:
  """Every tensor of a model of SIZES."""
  found = {"token_embd": (VOCAB, 64), "output_norm": (64,)}
  if not tied:
    found["output"] = (VOCAB, 64)
  for i in range(2):
    found |= {
      f"blk.{i}.attn_norm": (64,),
      f"blk.{i}.ffn_norm": (64,),
      f"blk.{i}.attn_q": (64, 64),
      f"blk.{i}.attn_k": (32, 64),
      f"blk.{i}.attn_v": (32, 64),
      f"blk.{i}.attn_output": (64, 64),
      f"blk.{i}.ffn_gate": (96, 64),
      f"blk.{i}.ffn_up": (96, 64),
      f"blk.{i}.ffn_down": (64, 96),
    }
  return {f"{name}.weight": shape for name, shape in found.items()}


def bpe_tokenizer(writer: gguf.GGUFWriter) -> None:
  """The metadata of tiny_bpe()."""
  tokenizer = tiny_bpe(VOCAB)
  vocab = tokenizer.get_vocab()
  merges = json.loads(tokenizer.to_str())["model"]["merges"]
  writer.add_tokenizer_model("gpt2")
  writer.add_tokenizer_pre("smollm")
  writer.add_token_list(sorted(vocab, key=vocab.get))
  writer.add_token_types([3] * 3 + [1] * (VOCAB - 3))
  writer.add_token_merges([" ".join(m) for m in merges])
  writer.add_bos_token_id(1)
  writer.add_eos_token_id(2)
  writer.add_pad_token_id(2)


def spm_tokenizer(writer: gguf.GGUFWriter) -> None:
  """The metadata of tiny_spm.model."""
  model = sentencepiece_model_pb2.ModelProto.FromString(SPM.read_bytes())
  writer.add_tokenizer_model("llama")
  writer.add_token_list([p.piece for p in model.pieces])
  writer.add_token_scores([p.score for p in model.pieces])
  writer.add_token_types([p.type for p in model.pieces])
  writer.add_bos_token_id(1)
  writer.add_eos_token_id(2)


def write(
  folder: pathlib.Path,
  kind: Kind = Kind.Q8_0,
  tied: bool = True,
  tokenizer=bpe_tokenizer,
  arch: str = "llama",
  drop: tuple[str, ...] = (),
  endian: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE,
  **metadata,
) -> pathlib.Path:
  """Writes a random model; matrices are of `kind`.

  Keys of `drop` are left out, those of `metadata` ("__" for ".") are added.
  """
  path = folder / "tiny.gguf"
  writer = gguf.GGUFWriter(path, arch, endianess=endian)
  writer.add_name("tiny")
  for key, value in (SIZES | NUMBERS).items():
    if key in drop:
      continue
    add = writer.add_uint32 if key in SIZES else writer.add_float32
    add(f"{arch}.{key}", value)
  for key, value in metadata.items():
    gguf_type = gguf.GGUFValueType.get_type(value)
    writer.add_key_value(key.replace("__", "."), value, gguf_type)
  if tokenizer:
    tokenizer(writer)
  rng = np.random.default_rng(0)
  for name, shape in shapes(tied).items():
    array = rng.normal(size=shape).astype(np.float32)
    if len(shape) == 1 or kind == Kind.F32:
      writer.add_tensor(name, array)
    else:
      data = gguf.quants.quantize(array, kind)
      writer.add_tensor(name, data, raw_dtype=kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path
