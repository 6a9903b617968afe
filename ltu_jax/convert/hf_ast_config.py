"""config.json and preprocessor_config.json of an AST: which fit LTU."""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from ltu_jax.audio.fbank import NUM_FRAMES, NUM_MELS
from ltu_jax.convert.files import read_json
from ltu_jax.convert.tensors import ConversionError, config_of, problem_table
from ltu_jax.models.ast import EncoderConfig

MODEL_TYPE = "audio-spectrogram-transformer"
"""`model_type` in config.json."""

PATCH = 16
"""Side of LTU's patches, in mels and in frames; they lie side by side."""

NUM_TOKENS = 2
"""Class and distillation token."""

# What a config.json that leaves a key out means: transformers' ASTConfig.
_CONFIG = {
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "patch_size": 16,
  "frequency_stride": 10,
  "time_stride": 10,
  "max_length": 1024,
  "num_mel_bins": 128,
  "layer_norm_eps": 1e-12,
  "hidden_act": "gelu",
  "qkv_bias": True,
}

# The same for preprocessor_config.json: transformers' ASTFeatureExtractor.
_PREPROCESSOR = {
  "do_normalize": True,
  "mean": -4.2677393,
  "std": 4.5689974,
  "num_mel_bins": 128,
  "sampling_rate": 16000,
}


def read_configs(
  folder: pathlib.Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """What config.json and preprocessor_config.json say.

  Args:
    folder: A folder of transformers'.

  Returns:
    Both; the latter is {} where there is no such file.

  Raises:
    ConversionError: No config.json of an AST, or a damaged file.
  """
  config = read_json(folder / "config.json")
  if config.get("model_type") != MODEL_TYPE:
    raise ConversionError(
      f"{folder}/config.json: model_type is {config.get('model_type')!r}; an "
      f"audio spectrogram transformer has {MODEL_TYPE!r}"
    )
  preprocessor = folder / "preprocessor_config.json"
  return config, read_json(preprocessor) if preprocessor.exists() else {}


def encoder_config(
  config: Mapping[str, Any],
  preprocessor: Mapping[str, Any],
  origin: str = "AST",
) -> EncoderConfig:
  """The encoder's sizes.

  Args:
    config: What config.json says.
    preprocessor: What preprocessor_config.json says; {} if there is none.
    origin: The folder, for messages.

  Raises:
    ConversionError: Another geometry than LTU's, or a network that ours is
      not; lists all that is wrong.
  """
  c = {key: config.get(key, value) for key, value in _CONFIG.items()}
  p = {key: preprocessor.get(key, v) for key, v in _PREPROCESSOR.items()}
  p["max_length"] = preprocessor.get("max_length", c["max_length"])
  rows = _wrong_types("config.json", c, _CONFIG)
  rows += _wrong_types("preprocessor_config.json", p, _PREPROCESSOR)
  rows = rows or _misfits(c, p)
  if rows:
    raise ConversionError(
      f"{origin}: this AST cannot be LTU's encoder:\n" + problem_table(rows)
    )
  return config_of(
    EncoderConfig,
    origin,
    dim=c["hidden_size"],
    depth=c["num_hidden_layers"],
    heads=c["num_attention_heads"],
    mlp_ratio=c["intermediate_size"] // c["hidden_size"],
    patch_mels=PATCH,
    patch_frames=PATCH,
    # A convolution leaves out what is behind the last whole patch.
    num_frames=c["max_length"] // PATCH * PATCH,
    num_mels=NUM_MELS,
    norm_eps=float(c["layer_norm_eps"]),
    prefix_tokens=NUM_TOKENS,
  )


def _wrong_types(
  file: str, values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
  """Rows of the table for values that are not of their default's kind."""
  rows = []
  for key, default in defaults.items():
    value = values[key]
    if isinstance(default, bool):
      fits, kind = type(value) is bool, "true or false"
    elif isinstance(default, str):
      fits, kind = type(value) is str, "text"
    elif isinstance(default, int):
      fits, kind = type(value) is int and value > 0, "a positive integer"
    else:
      fits = type(value) in (int, float) and abs(value) <= sys.float_info.max
      fits, kind = fits and (value > 0 or key == "mean"), "a number"
      kind += "" if key == "mean" else " above 0"
    if not fits:
      rows.append((file, key, f"{value!r}, not {kind}"))
  return rows


def _misfits(
  c: Mapping[str, Any], p: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
  """Rows of the table for values that ours has no equal of."""
  rows = []
  theirs = _geometry(
    c["patch_size"],
    (c["frequency_stride"], c["time_stride"]),
    (c["num_mel_bins"], c["max_length"]),
  )
  ours = _geometry(PATCH, (PATCH, PATCH), (NUM_MELS, NUM_FRAMES))
  if (
    {c["patch_size"], c["frequency_stride"], c["time_stride"]} != {PATCH}
    or c["num_mel_bins"] != NUM_MELS
    or c["max_length"] < PATCH
  ):
    rows += [("geometry", "of this AST", theirs), ("geometry", "of LTU", ours)]
  if c["hidden_act"] != "gelu":
    rows.append(("config.json", "hidden_act", f"{c['hidden_act']}, not gelu"))
  if not c["qkv_bias"]:
    rows.append(("config.json", "qkv_bias", "false, not true"))
  for key, per in (
    ("hidden_size", "num_attention_heads"),
    ("intermediate_size", "hidden_size"),
  ):
    if c[key] % c[per]:
      detail = f"{c[key]} is no multiple of {per} {c[per]}"
      rows.append(("config.json", key, detail))
  for key, want in (
    ("num_mel_bins", NUM_MELS),
    ("sampling_rate", _PREPROCESSOR["sampling_rate"]),
    ("max_length", c["max_length"]),
  ):
    if p[key] != want:
      detail = f"{p[key]}, not {want}"
      rows.append(("preprocessor_config.json", key, detail))
  return rows


def _geometry(
  patch: int, strides: tuple[int, int], clip: tuple[int, int]
) -> str:
  """Patches in words: "16 x 16, stride 10 x 10: ..."."""
  counts = [
    max((size - patch) // stride + 1, 0)
    for size, stride in zip(clip, strides, strict=True)
  ]
  return (
    f"patches of {patch} x {patch}, stride {strides[0]} x {strides[1]}, of "
    f"{clip[0]} mels x {clip[1]} frames: {counts[0]} x {counts[1]} = "
    f"{counts[0] * counts[1]} patches"
  )


def normalisation(preprocessor: Mapping[str, Any]) -> tuple[float, float]:
  """(mean, scale) of the features: (x - mean) / scale; (0, 1) for none."""
  p = _PREPROCESSOR | dict(preprocessor)
  return (p["mean"], 2 * p["std"]) if p["do_normalize"] else (0.0, 1.0)
