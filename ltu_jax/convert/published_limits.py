"""What the published code can run, and what it would run wrongly.

It loads a checkpoint with `strict=False`: names that it does not know, or does
not find, pass without a word, and only a shape that differs is an error. Its
encoder has no settings; its decoder takes them from the base model's folder but
for the rotary base; the adapters' are written in its scripts.
"""

from typing import Any

from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig

_SHAPES = ("dim", "mlp_ratio", "patch_mels", "patch_frames")
"""Fields of the encoder that show in the shapes of its weights."""

_HIDDEN = ("depth", "heads", "num_frames", "num_mels")
"""Fields that may differ where all shapes are alike.

Blocks that lack or are left over count as such: their names pass.
"""


def check_published(cfg: LtuConfig) -> tuple[list[str], list[str]]:
  """Compares a model with what the published code builds.

  Args:
    cfg: The model.

  Returns:
    What the published code would get wrong without an error, and what has to
    be known or changed there to load the model; a line each.
  """
  published = LtuConfig()
  wrong = []
  for part, names in (
    ("encoder", ("prefix_tokens", "norm_eps")),
    ("projector", ("time_pool", "scale", "norm_eps")),
    ("llama", ("rope_base",)),
  ):
    wrong += _differences(part, getattr(cfg, part), names, published)
  notes, encoder = [], cfg.encoder
  shown = _differences("encoder", encoder, _SHAPES, published)
  hidden = _differences("encoder", encoder, _HIDDEN, published)
  if shown or _patches(encoder) != _patches(published.encoder):
    notes.append(
      "its encoder has to be made with these sizes: "
      + "; ".join(shown + hidden)
    )
  else:
    wrong += hidden
  llama = cfg.llama
  if (llama.kv_heads, llama.head_dim * llama.heads) != (llama.heads, llama.dim):
    notes.append(
      f"its decoder cannot have {llama.heads} heads of {llama.head_dim} and "
      f"{llama.kv_heads} for keys and values at width {llama.dim}: it has to "
      "be changed"
    )
  lora = cfg.lora
  if lora.rank and _said(lora) != _said(published.lora):
    notes.append(
      f"its scripts have to be set to {_said(lora)}; they have "
      f"{_said(published.lora)}"
    )
  return wrong, notes


def _differences(
  part: str, sizes: Any, names: tuple[str, ...], published: LtuConfig
) -> list[str]:
  """Lines such as "encoder.dim is 96 (published: 768)"."""
  there = getattr(published, part)
  return [
    f"{part}.{name} is {getattr(sizes, name)} "
    f"(published: {getattr(there, name)})"
    for name in names
    if getattr(sizes, name) != getattr(there, name)
  ]


def _patches(encoder: EncoderConfig) -> int:
  """P, the length of the position table."""
  rows, columns = encoder.grid
  return rows * columns


def _said(lora: LoraConfig) -> str:
  """The settings as the published scripts write them."""
  targets = ", ".join(f'"{name}"' for name in sorted(lora.targets))
  alpha = f"{lora.alpha:g}"
  return f"r={lora.rank}, lora_alpha={alpha}, target_modules=[{targets}]"
