"""Whole models in other projects' formats: published LTU, PEFT, Hugging Face.

All take the model as canonical names (names.py) with tensors that are read when
they are written. Decoder weights keep their dtype; adapters, encoder and
projector are float32.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from ltu_jax.convert.from_torch import problems
from ltu_jax.convert.llama import llama_config_json
from ltu_jax.convert.names import PREFIX, carried_defaults, part_of_name
from ltu_jax.convert.peft import adapter_config_json
from ltu_jax.convert.published_limits import check_published
from ltu_jax.convert.tensors import (
  ConversionError,
  Tensor,
  of_array,
  problem_table,
)
from ltu_jax.convert.writers import (
  fresh_folder,
  write_json,
  write_safetensors,
  write_shards,
  write_torch,
)
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import PART_TYPES, LtuConfig

AUDIO_FILE = "audio.safetensors"
"""Encoder and projector, beside a format that has no place for them."""


def check_whole(tensors: Mapping[str, Tensor], cfg: LtuConfig) -> None:
  """Checks that tensors are exactly those of a model.

  Args:
    tensors: Canonical name -> tensor.
    cfg: The model.

  Raises:
    ConversionError: Lists all that are missing, mis-shaped or unexpected.
  """
  parts = [p for p in PART_TYPES if p != "lora" or cfg.lora.rank]
  if rows := problems(cfg, parts, tensors):
    raise ConversionError("cannot export:\n" + problem_table(rows))


def export_ltu(
  path: str | os.PathLike,
  tensors: Mapping[str, Tensor],
  cfg: LtuConfig,
  carried: Mapping[str, Tensor] | None = None,
  all_weights: bool = False,
) -> list[str]:
  """Writes the published code's checkpoint: what it trains, or everything.

  Args:
    path: The file to make, with the ending `.bin`, `.pth`, `.pt` (torch) or
      `.safetensors`.
    tensors: Canonical name -> tensor, all of the model.
    cfg: The model.
    carried: Tensors of the published model that ours has no use for, as an
      import found them; others are written as the published code starts them.
    all_weights: Write the decoder too, and not only what has "lora" or "audio"
      in its name. A tied output matrix is written as a copy of the embedding.

  Returns:
    Lines for the user: what has to be known to load the file.

  Raises:
    ConversionError: The file exists or has another ending; tensors that are
      not the model's; a model that the published code would run wrongly
      without an error.
  """
  suffix = pathlib.Path(path).suffix
  if suffix not in (".bin", ".pth", ".pt", ".safetensors"):
    raise ConversionError(
      f"{path}: the name must end in .bin (torch) or .safetensors"
    )
  check_whole(tensors, cfg)
  wrong, notes = check_published(cfg)
  if wrong:
    raise ConversionError(
      "the published code would load this model without an error and compute "
      "something else:\n  "
      + "\n  ".join(wrong)
      + "\nUse --format=bundle, peft or hf."
    )
  defaults = carried_defaults(cfg.encoder, cfg.llama if all_weights else None)
  every = dict(tensors)
  if all_weights and cfg.llama.tied:
    every["lm_head.weight"] = tensors["model.embed_tokens.weight"]
  for name, array in defaults.items():
    every[name] = (carried or {}).get(name) or of_array(array, name)
  chosen = {
    PREFIX + name: tensor
    for name, tensor in every.items()
    if all_weights or "lora" in name or "audio" in name
  }
  if suffix == ".safetensors":
    write_safetensors(path, chosen, {"format": "pt"})
  else:
    write_torch(path, chosen)
  return [f"to load it in the published code: {note}" for note in notes]


def export_peft(
  folder: str | os.PathLike, tensors: Mapping[str, Tensor], cfg: LtuConfig
) -> list[str]:
  """Writes the adapters as a folder of PEFT, and the audio part beside them.

  Args:
    folder: The folder to make.
    tensors: Canonical name -> tensor, all of the model.
    cfg: The model.

  Returns:
    Lines for the user.

  Raises:
    ConversionError: The folder exists, tensors that are not the model's, or a
      model without adapters.
  """
  if not cfg.lora.rank:
    raise ConversionError("this model has no adapters to export.")
  check_whole(tensors, cfg)
  adapters = {
    # PEFT's files leave out the adapter's name.
    (PREFIX + name).replace(".default.", "."): tensor
    for name, tensor in tensors.items()
    if part_of_name(name) == "lora"
  }
  with fresh_folder(folder) as work:
    write_json(work / "adapter_config.json", adapter_config_json(cfg.lora))
    path = work / "adapter_model.safetensors"
    write_safetensors(path, adapters, {"format": "pt"})
    _write_audio(work, tensors, cfg)
  return [
    "the adapters belong on the decoder as it is without them; a folder of "
    "--format=hf has them merged already",
    f"{AUDIO_FILE} has the encoder and the projector",
  ]


def export_hf(
  folder: str | os.PathLike,
  tensors: Mapping[str, Tensor],
  cfg: LtuConfig,
  tokenizer: Tokenizer | None,
  merge: bool = True,
) -> list[str]:
  """Writes the decoder as a LLaMA folder of Hugging Face.

  Args:
    folder: The folder to make.
    tensors: Canonical name -> tensor, all of the model.
    cfg: The model.
    tokenizer: Its tokenizer; None writes none.
    merge: Whether the adapters are added to the weights. False leaves them
      out: the decoder that an adapter folder of `export_peft` goes on.

  Returns:
    Lines for the user.

  Raises:
    ConversionError: The folder exists, or tensors that are not the model's.
  """
  check_whole(tensors, cfg)
  decoder = {n: t for n, t in tensors.items() if part_of_name(n) == "llama"}
  ids = {"bos": None, "eos": None, "pad": None}
  if tokenizer is not None:
    ids = {name: getattr(tokenizer, f"{name}_id") for name in ids}
  config = llama_config_json(cfg.llama, **ids)
  with fresh_folder(folder) as work:
    write_json(work / "config.json", config)
    if tokenizer is not None:
      generation = {f"{name}_token_id": i for name, i in ids.items()}
      write_json(work / "generation_config.json", generation)
      tokenizer.save(work)
    write_shards(work, merged(tensors, cfg) if merge else decoder)
    _write_audio(work, tensors, cfg)
  notes = [f"{AUDIO_FILE} has the encoder and the projector"]
  if cfg.lora.rank:
    targets = ", ".join(sorted(cfg.lora.targets))
    done = "merged" if merge else "left out"
    notes.insert(0, f"the adapters of {targets} are {done}")
  if tokenizer is None:
    notes.append("there is no tokenizer to write")
  return notes


def merged(tensors: Mapping[str, Tensor], cfg: LtuConfig) -> dict[str, Tensor]:
  """The decoder's weights with the adapters added to them.

  W + alpha / rank * B A in float32, rounded once to the dtype of W.

  Args:
    tensors: Canonical name -> tensor, all of the model.
    cfg: The model.

  Returns:
    Canonical name -> tensor of the decoder; each reads up to three.
  """
  found = {}
  for name, tensor in tensors.items():
    if part_of_name(name) != "llama":
      continue
    stem = name.removesuffix(".weight")
    a = tensors.get(f"{stem}.lora_A.default.weight")
    b = tensors.get(f"{stem}.lora_B.default.weight")
    if a is not None and b is not None:
      scale = np.float32(cfg.lora.alpha / cfg.lora.rank)
      read = functools.partial(_merge, tensor, a, b, scale)
      tensor = dataclasses.replace(tensor, read=read)
    found[name] = tensor
  return found


def _merge(
  weight: Tensor, a: Tensor, b: Tensor, scale: np.float32
) -> np.ndarray:
  """One projection with its adapter: [out, in] in the dtype of the weight."""
  delta = b.read() @ a.read()
  delta *= scale
  delta += weight.read()
  return delta.astype(weight.dtype)


def _write_audio(
  folder: pathlib.Path, tensors: Mapping[str, Tensor], cfg: LtuConfig
) -> None:
  """Writes encoder and projector; their sizes are in the metadata, as JSON."""
  parts = ("encoder", "projector")
  sizes = {
    part: json.dumps(dataclasses.asdict(getattr(cfg, part))) for part in parts
  }
  audio = {
    name: tensor
    for name, tensor in tensors.items()
    if part_of_name(name) in parts
  }
  write_safetensors(folder / AUDIO_FILE, audio, sizes)
