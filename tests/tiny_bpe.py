"""A small byte-level BPE tokenizer, trained by the tokenizers library."""

import json
import pathlib

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

TEXTS = [
  f"A {a} is heard at {i}.5s, then a {b}; it isn't café ♫.\n\n2. {b}\n"
  for i, a in enumerate(["dog", "bell", "door", "train", "snare", "splash"])
  for b in ["dog barks", "bell rings", "door slams", "train passes"]
]


def tiny_bpe(size: int = 300, special=SPECIAL) -> tokenizers.Tokenizer:
  """Trains one with SmolLM2's rules; `special` have the first ids."""
  tokenizer = tokenizers.Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Digits(individual_digits=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
  )
  tokenizer.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=size,
    special_tokens=list(special),
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  tokenizer.train_from_iterator(TEXTS, trainer)
  return tokenizer


def write_folder(folder: pathlib.Path, **config) -> pathlib.Path:
  """Writes a Hugging Face folder; its file adds, cuts and pads."""
  tokenizer = tiny_bpe()
  tokenizer.post_processor = processors.TemplateProcessing(
    single="<|im_start|> $A <|im_end|>",
    special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)],
  )
  tokenizer.enable_truncation(5)
  tokenizer.enable_padding(length=9)
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer.save(str(folder / "tokenizer.json"))
  config = {
    "bos_token": {"content": "<|im_start|>", "lstrip": False},
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "tokenizer_class": "GPT2Tokenizer",
    **config,
  }
  (folder / "tokenizer_config.json").write_text(json.dumps(config))
  return folder
