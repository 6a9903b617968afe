"""Small files and folders of every kind that an import reads."""

import functools
import json
import pathlib
import tempfile

import numpy as np

import random_weights
import tiny_bpe
import tiny_gguf
from ltu_jax.convert import formats, hf_ast, hf_ast_config
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.convert.tensors import of_array
from ltu_jax.convert.writers import write_safetensors, write_shards
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig

CONFIG = LtuConfig(
  EncoderConfig(dim=4, depth=2, heads=1, mlp_ratio=1, patch_mels=128),
  llama=LlamaConfig(
    vocab=420, dim=8, mlp_dim=6, layers=2, heads=2, kv_heads=1, head_dim=4
  ),
  lora=LoraConfig(rank=2),
)
_AST = {
  "model_type": hf_ast_config.MODEL_TYPE,
  "hidden_size": 8,
  "num_hidden_layers": 1,
  "num_attention_heads": 2,
  "intermediate_size": 16,
  "frequency_stride": 16,
  "time_stride": 16,
}

Files = dict[str, bytes]


@functools.cache
def folders() -> dict[str, tuple[str, Files]]:
  """Name -> the option that reads it, and its files."""
  source = random_weights.random_source(CONFIG)
  spm = SentencePieceTokenizer(tiny_gguf.SPM)
  with tempfile.TemporaryDirectory() as scratch:
    at = pathlib.Path(scratch)
    formats.export_hf(at / "hf", source.tensors, CONFIG, spm, merge=True)
    formats.export_peft(at / "peft", source.tensors, CONFIG)
    for name in ("gguf", "gguf spm", "ltu", "audio", "shards", "ast", "bpe"):
      (at / name).mkdir()
    tiny_gguf.write(at / "gguf")
    tiny_gguf.write(at / "gguf spm", tokenizer=tiny_gguf.spm_tokenizer)
    trained = {
      name: tensor
      for name, tensor in source.tensors.items()
      if "lora" in name or "audio" in name
    }
    formats.write_torch(at / "ltu" / "pytorch_model.bin", trained)
    write_safetensors(at / "audio" / "model.safetensors", trained)
    for name in ("config.json", "tokenizer.model"):
      (at / "shards" / name).write_bytes((at / "hf" / name).read_bytes())
    decoder = {k: v for k, v in source.tensors.items() if k not in trained}
    write_shards(at / "shards", decoder, 2000)
    tiny_bpe.write_folder(at / "bpe")
    (at / "bpe" / "config.json").write_bytes(
      (at / "hf" / "config.json").read_bytes()
    )
    write_safetensors(at / "bpe" / "model.safetensors", decoder)
    _write_ast(at / "ast")
    options = {
      **{name: "llama" for name in ("hf", "shards", "bpe", "gguf", "gguf spm")},
      **{"peft": "peft", "ltu": "ltu", "audio": "ltu", "ast": "audio"},
    }
    return {k: (option, _files(at / k)) for k, option in options.items()}


@functools.cache
def bundle() -> Files:
  """The files of a bundle."""
  tokenizer = SentencePieceTokenizer(tiny_gguf.SPM)
  tensors = random_weights.random_source(CONFIG).tensors
  with tempfile.TemporaryDirectory() as scratch:
    path = pathlib.Path(scratch) / "bundle"
    write_bundle(path, tensors, CONFIG, tokenizer, None, {})
    return _files(path)


def _write_ast(folder: pathlib.Path) -> None:
  (folder / "config.json").write_text(json.dumps(_AST))
  (folder / "preprocessor_config.json").write_text('{"mean": -4.0}')
  cfg = hf_ast.encoder_config(_AST, {})
  tensors = {
    name: of_array(np.ones(shape, np.float32))
    for name, shape in hf_ast._shapes(cfg).items()
  }
  write_safetensors(folder / "model.safetensors", tensors)


def _files(folder: pathlib.Path) -> Files:
  return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
