"""CAV-MAE checkpoints: their audio branch is the ear that LTU starts from.

Names are those of the published classes, CAVMAE (pretrained) and CAVMAEFT
(fine-tuned), which torch's DataParallel puts `module.` before; or of LTU's own
copy of the audio branch, below `audio_encoder.`. LTU's copy has the audio
branch's names unchanged and runs blocks_a with norm1 and norm2, then blocks_u
with norm1_a and norm2_a, then norm_a; so does ours.
"""

import collections
import os
import re
from collections.abc import Mapping

from ltu_jax.audio.fbank import NUM_FRAMES, NUM_MELS
from ltu_jax.convert.files import open_weights
from ltu_jax.convert.names import ENCODER, is_carried
from ltu_jax.convert.tensors import (
  ConversionError,
  Source,
  Tensor,
  config_of,
  problem_table,
)
from ltu_jax.models.ast import EncoderConfig

_PREFIX = re.compile(
  r"^(module\.|base_model\.model\.|model\.|audio_encoder\.)+"
)

# The video branch, the joint norm, the classification head, the decoder.
_DROPPED = re.compile(
  r"(patch_embed_v|modality_v|pos_embed_v|blocks_v|norm_v|norm|mlp_head\w*"
  r"|mask_token|decoder_\w+)(\.|$)"
)

_BLOCK = re.compile(r"blocks_([au])\.(0|[1-9]\d*)\.(.+)")

# CAV-MAE's models are of 768 with 12 heads; a checkpoint says only the 768.
_HEAD_DIM = 64


def read_cav_mae(path: str | os.PathLike) -> Source:
  """Opens a CAV-MAE checkpoint; see `from_names`.

  Args:
    path: A file of torch's or of safetensors, or a folder with one.

  Returns:
    A source of the part "encoder".

  Raises:
    ConversionError: Not to be read, or see `from_names`.
  """
  return from_names(open_weights(path), str(path))


def from_names(
  tensors: Mapping[str, Tensor], origin: str = "CAV-MAE weights"
) -> Source:
  """Keeps the audio branch of a CAV-MAE state dict, under canonical names.

  The LayerNorms of the audio branch that LTU does not use are carried. What is
  neither kept nor known to be of no use goes on as `model.audio_encoder.NAME`,
  for the import to report.

  Args:
    tensors: Name in the checkpoint -> tensor.
    origin: The checkpoint's name, for messages.

  Returns:
    A source of the part "encoder"; notes say what was dropped or inferred. A
    checkpoint does not say the number of heads: taken for width / 64.

  Raises:
    ConversionError: Tensors that give the model's sizes are missing or
      contradict each other, or a name is there twice; lists all that is wrong.
  """
  found: dict[str, Tensor] = {}
  dropped: collections.Counter[str] = collections.Counter()
  rows = []
  for name, tensor in tensors.items():
    short = _PREFIX.sub("", name)
    if match := _DROPPED.match(short):
      dropped[match[1]] += 1
    elif short in found:
      rows.append(("twice", name, f"also as {found[short].origin}"))
    else:
      found[short] = tensor
  blocks = _blocks(found, rows)
  config = _config(found, blocks, rows, origin)
  if rows:
    some = f", such as {next(iter(tensors))}" if tensors else ""
    raise ConversionError(
      f"{origin}: no CAV-MAE checkpoint with an audio branch, by its "
      f"{len(tensors)} tensors{some}:\n" + problem_table(rows)
    )
  kept, carried = {}, {}
  for short, tensor in found.items():
    name = _canonical(short, blocks)
    (carried if is_carried(name) else kept)[name] = tensor
  notes = _notes(config, blocks, dropped)
  return Source(kept, {"encoder": config}, carried, None, notes)


def _blocks(
  found: Mapping[str, Tensor], rows: list[tuple[str, str, str]]
) -> list[tuple[str, int]]:
  """("a" or "u", index) of every block in the order in which audio passes."""
  matches = [match for name in found if (match := _BLOCK.match(name))]
  blocks = sorted({(match[1], int(match[2])) for match in matches})
  for kind in "au":
    indices = [index for k, index in blocks if k == kind]
    if indices != list(range(len(indices))):
      detail = f"numbers {', '.join(map(str, indices))} leave some out"
      rows.append(("missing", f"blocks_{kind}", detail))
  return blocks


def _config(
  found: Mapping[str, Tensor],
  blocks: list[tuple[str, int]],
  rows: list[tuple[str, str, str]],
  origin: str,
) -> EncoderConfig | None:
  """The encoder's sizes; None, and rows added, if they cannot be told."""
  first = "blocks_{}.{}".format(*blocks[0]) if blocks else "blocks_a.0"
  forms = {
    "patch_embed_a.proj.weight": ("width", 1, "mels", "frames"),
    "pos_embed_a": (1, "patches", "width"),
    f"{first}.mlp.fc1.weight": ("hidden", "width"),
  }
  sizes: dict[str, int] = {}
  bad = []
  for name, form in forms.items():
    if name not in found:
      bad.append(("missing", name, ""))
      continue
    shape = found[name].shape
    if (
      len(shape) != len(form)
      or 0 in shape
      or any(
        size != (n if isinstance(n, int) else sizes.setdefault(n, size))
        for n, size in zip(form, shape, strict=True)
      )
    ):
      want = [f"{n} {sizes[n]}" if n in sizes else str(n) for n in form]
      bad.append(("mis-shaped", name, f"{shape}, not [{', '.join(want)}]"))
  rows += bad or _misfits(sizes, first)
  if rows:
    return None
  width, freq = sizes["width"], NUM_MELS // sizes["mels"]
  return config_of(
    EncoderConfig,
    origin,
    dim=width,
    depth=len(blocks),
    heads=1 if width % _HEAD_DIM else width // _HEAD_DIM,
    mlp_ratio=sizes["hidden"] // width,
    patch_mels=sizes["mels"],
    patch_frames=sizes["frames"],
    num_frames=sizes["patches"] // freq * sizes["frames"],
    num_mels=NUM_MELS,
  )


def _misfits(
  sizes: Mapping[str, int], first: str
) -> list[tuple[str, str, str]]:
  """Rows of the table for sizes that do not go together."""
  rows = []
  width, mels = sizes["width"], sizes["mels"]
  if NUM_MELS % mels:
    detail = f"patches of {mels} mels do not tile {NUM_MELS}"
    rows.append(("mis-shaped", "patch_embed_a.proj.weight", detail))
  elif sizes["patches"] % (NUM_MELS // mels):
    detail = (
      f"{sizes['patches']} patches are no multiple of the {NUM_MELS // mels} "
      f"that tile {NUM_MELS} mels"
    )
    rows.append(("mis-shaped", "pos_embed_a", detail))
  if sizes["hidden"] % width:
    detail = f"hidden {sizes['hidden']} is no multiple of the width {width}"
    rows.append(("mis-shaped", f"{first}.mlp.fc1.weight", detail))
  return rows


def _canonical(short: str, blocks: list[tuple[str, int]]) -> str:
  """The canonical name of a tensor of the audio branch.

  LTU has one block_u, the last. In another split a block takes the names of its
  place; of its norms, norm1 and norm1_a change roles with them.
  """
  match = _BLOCK.match(short)
  if not match:
    return f"{ENCODER}.{short}"
  kind, rest = match[1], match[3]
  place = blocks.index((kind, int(match[2])))
  new_kind, new_index = "a", place
  if place == len(blocks) - 1:
    new_kind, new_index = "u", 0
  if new_kind != kind:
    rest = re.sub(
      r"^(norm[12])(_a)?\.",
      lambda m: f"{m[1]}." if m[2] else f"{m[1]}_a.",
      rest,
    )
  return f"{ENCODER}.blocks_{new_kind}.{new_index}.{rest}"


def _notes(
  config: EncoderConfig,
  blocks: list[tuple[str, int]],
  dropped: collections.Counter[str],
) -> tuple[str, ...]:
  """What the user should know."""
  notes = []
  if dropped:
    names = ", ".join(f"{name} ({n})" for name, n in sorted(dropped.items()))
    notes.append(
      f"dropped {dropped.total()} tensors that hearing does not use (video "
      f"branch, joint norm, head, decoder): {names}"
    )
  how = f"width {config.dim} / {_HEAD_DIM}"
  if config.dim % _HEAD_DIM:
    how = f"as the width {config.dim} is no multiple of {_HEAD_DIM}"
  notes.append(
    f"took heads={config.heads} ({how}): a CAV-MAE checkpoint does not say; "
    "--set encoder.heads=N changes it"
  )
  if config.num_frames != NUM_FRAMES:
    notes.append(
      f"the position table is for clips of {config.num_frames} frames, not of "
      f"LTU's {NUM_FRAMES}"
    )
  num_u = sum(kind == "u" for kind, _ in blocks)
  if num_u != 1:
    notes.append(
      f"{len(blocks) - num_u} blocks_a and {num_u} blocks_u take the names of "
      f"LTU's {len(blocks) - 1} blocks_a and 1 blocks_u, in the same order and "
      "with the norms that audio passes: what is computed is the same"
    )
  return tuple(notes)
