"""A small random BERT in a sentence-transformers folder; no test."""

import json
import pathlib
import string

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["sound", "of", "dog", "bark", "a", "the", "##ing", "##s", "caf", "##e"]
PIECES = [
  *SPECIAL,
  *WORDS,
  *(c for c in string.ascii_lowercase if c != "a"),
  *(f"##{c}" for c in string.ascii_lowercase if c not in "se"),
  *",.:;\u4e2d",
]
WIDTH, MLP, LAYERS, HEADS, POSITIONS, MOST_TOKENS = 24, 40, 3, 4, 48, 40

TEXTS = [
  "sound of dog barking",
  "sound of ",
  "",
  "SOUND of Dogs, the café; \u4e2d\u6587 \xad",
  "[SEP] of [CLS]",
  "a dog " * 100,
  *(f"sound of {'dogs ' * n}" for n in range(0, 40, 3)),
]
"""Of all lengths, short ones and some that are cut."""

CONFIG = {
  "architectures": ["BertModel"],
  "model_type": "bert",
  "hidden_act": "gelu",
  "hidden_size": WIDTH,
  "intermediate_size": MLP,
  "layer_norm_eps": 1e-12,
  "max_position_embeddings": POSITIONS,
  "num_attention_heads": HEADS,
  "num_hidden_layers": LAYERS,
  "type_vocab_size": 2,
  "vocab_size": len(PIECES),
}

MODULES = ["Transformer", "Pooling", "Normalize"]
OLD_POOLING = {"pooling_mode_mean_tokens": True}
NEW_POOLING = {"embedding_dimension": WIDTH, "pooling_mode": "mean"}


def weights(seed=0):
  """Random weights that all matter, and biases that do not drown them."""
  rng = np.random.default_rng(seed)

  def dense(name, out, width):
    return {
      f"{name}.weight": rng.normal(size=(out, width)) * 2 / width**0.5,
      f"{name}.bias": rng.normal(size=out) / 4,
    }

  def norm(name):
    return {
      f"{name}.weight": 1 + rng.normal(size=WIDTH) / 4,
      f"{name}.bias": rng.normal(size=WIDTH) / 4,
    }

  made = norm("embeddings.LayerNorm") | dense("pooler.dense", WIDTH, WIDTH)
  tables = {"word": len(PIECES), "position": POSITIONS, "token_type": 2}
  for name, rows in tables.items():
    made[f"embeddings.{name}_embeddings.weight"] = rng.normal(
      size=(rows, WIDTH)
    )
  for i in range(LAYERS):
    layer = f"encoder.layer.{i}"
    for name in ("query", "key", "value"):
      made |= dense(f"{layer}.attention.self.{name}", WIDTH, WIDTH)
    made |= dense(f"{layer}.attention.output.dense", WIDTH, WIDTH)
    made |= dense(f"{layer}.intermediate.dense", MLP, WIDTH)
    made |= dense(f"{layer}.output.dense", WIDTH, MLP)
    made |= norm(f"{layer}.attention.output.LayerNorm")
    made |= norm(f"{layer}.output.LayerNorm")
  return {name: array.astype(np.float32) for name, array in made.items()}


def tokenizer(lowercase=True):
  vocabulary = {piece: i for i, piece in enumerate(PIECES)}
  made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
  made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
  made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  made.add_special_tokens(SPECIAL)
  made.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
  )
  # Files have these, and they are not what counts.
  made.enable_truncation(7)
  made.enable_padding(length=9)
  return made


def write_folder(
  folder,
  seed=0,
  config=(),
  modules=MODULES,
  pooling=OLD_POOLING,
  text=None,
  head="",
):
  """Writes a folder; `head` is in front of the weights' names."""
  folder = pathlib.Path(folder)
  (folder / "1_Pooling").mkdir(parents=True)
  paths = {"Pooling": "1_Pooling", "Normalize": "2_Normalize"}
  listed = [
    {
      "idx": i,
      "name": str(i),
      "path": paths.get(kind, ""),
      "type": f"sentence_transformers.models.{kind}",
    }
    for i, kind in enumerate(modules)
  ]
  files = {
    "modules.json": listed,
    "config.json": CONFIG | dict(config),
    "1_Pooling/config.json": {"word_embedding_dimension": WIDTH} | pooling,
    "sentence_bert_config.json": text or {"max_seq_length": MOST_TOKENS},
    "tokenizer_config.json": {
      "tokenizer_class": "BertTokenizer",
      "do_lower_case": True,
      "model_max_length": 44,
    }
    | {f"{s[1:-1].lower()}_token": s for s in SPECIAL},
  }
  for name, values in files.items():
    (folder / name).write_text(json.dumps(values))
  tokenizer().save(str(folder / "tokenizer.json"))
  named = {head + name: array for name, array in weights(seed).items()}
  save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
  return folder
