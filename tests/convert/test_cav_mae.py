"""CAV-MAE checkpoints against the published code's encoder output."""

import re

import numpy as np
import pytest
import torch

import golden_data
import source_encoder
from ltu_jax.convert.cav_mae import from_names, read_cav_mae
from ltu_jax.convert.names import carried_defaults
from ltu_jax.convert.tensors import ConversionError, Tensor, of_array
from ltu_jax.models.ast import EncoderConfig

GOLDEN = "forward_a"  # two blocks_a, one blocks_u
PUBLISHED = "base_model.model.model.audio_encoder."

# As in test_golden_forward.py.
ATOL = 1e-4

NORMS = [f"norm{n}{kind}" for n in "12" for kind in ("", "_a", "_v")]


def audio_branch() -> dict[str, np.ndarray]:
  """The golden encoder's weights, by CAV-MAE's names."""
  return {
    name.removeprefix(PUBLISHED): array
    for name, array in golden_data.params(GOLDEN).items()
    if name.startswith(PUBLISHED)
  }


def block_names(prefix: str) -> list[str]:
  layers = [*NORMS, "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
  return [f"{prefix}.{n}.{x}" for n in layers for x in ("weight", "bias")]


def video_branch() -> list[str]:
  """What CAVMAE and CAVMAEFT have besides, with two blocks_v."""
  names = ["modality_v", "pos_embed_v", *block_names("blocks_v.0")]
  names += block_names("blocks_v.1")
  for name in ("patch_embed_v.proj", "norm_v", "norm"):
    names += [f"{name}.weight", f"{name}.bias"]
  return names


def head() -> list[str]:
  return [f"mlp_head.{i}.{x}" for i in (0, 1) for x in ("weight", "bias")]


def decoder() -> list[str]:
  names = ["mask_token"]
  for x in "av":
    names += [f"decoder_modality_{x}", f"decoder_pos_embed_{x}"]
    names += [f"decoder_pred_{x}.weight", f"decoder_pred_{x}.bias"]
  for name in ("decoder_embed", "decoder_norm"):
    names += [f"{name}.weight", f"{name}.bias"]
  return names + block_names("decoder_blocks.0")


def as_tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
  return {name: of_array(a, f"file: {name}") for name, a in arrays.items()}


def assert_golden_output(source):
  encoder = source_encoder.encoder(source, heads=4)
  out = encoder(golden_data.batch(GOLDEN)["fbank"])
  want = golden_data.load(GOLDEN)["out/encoder"]
  np.testing.assert_allclose(out, want, rtol=0, atol=ATOL)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
  "others", [video_branch() + head(), video_branch() + decoder()]
)
def test_file_gives_the_published_output(tmp_path, prefix, others):
  state = {n: torch.from_numpy(a) for n, a in audio_branch().items()}
  state |= {name: torch.zeros(1) for name in others}
  path = tmp_path / "audio_model.pth"
  torch.save({prefix + name: value for name, value in state.items()}, path)
  source = read_cav_mae(path)
  assert source.parts["encoder"] == EncoderConfig(dim=48, depth=3, heads=1)
  assert source.carried.keys() == (
    carried_defaults(EncoderConfig(dim=48, depth=3)).keys()
  )
  assert f"dropped {len(others)} tensors" in source.notes[0]
  counts = re.findall(r"([\w]+) \((\d+)\)", source.notes[0])
  assert {name for name, _ in counts} == {n.split(".")[0] for n in others}
  assert sum(int(n) for _, n in counts) == len(others)
  assert_golden_output(source)


@pytest.mark.parametrize(
  "prefix", [PUBLISHED, "model.audio_encoder.", "audio_encoder."]
)
def test_names_of_ltu_itself(prefix):
  named = {prefix + name: array for name, array in audio_branch().items()}
  source = from_names(as_tensors(named))
  assert len(source.notes) == 1  # the heads
  assert_golden_output(source)


def swapped(name: str) -> str:
  """The same norm of a block that is run with the other norms."""
  if re.search(r"\.norm[12]_a\.", name):
    return name.replace("_a.", ".")
  return re.sub(r"\.(norm[12])\.", r".\1_a.", name)


@pytest.mark.parametrize("num_u", [0, 1, 2, 3])
def test_other_splits_compute_the_same(num_u):
  """Audio passes blocks_a with norm1, blocks_u with norm1_a, in this order."""
  order = ["blocks_a.0.", "blocks_a.1.", "blocks_u.0."]
  renamed = {}
  for name, array in audio_branch().items():
    for i, old in enumerate(order):
      if name.startswith(old):
        is_u = i >= 3 - num_u
        new = f"blocks_u.{i - 3 + num_u}." if is_u else f"blocks_a.{i}."
        rest = name.removeprefix(old)
        if is_u != (old[7] == "u"):
          rest = swapped("." + rest)[1:]
        name = new + rest
        break
    renamed[name] = array
  source = from_names(as_tensors(renamed))
  assert any("blocks_u take" in n for n in source.notes) == (num_u != 1)
  assert_golden_output(source)
  # Not only those that are used: each is where LTU's own file has it.
  want = from_names(as_tensors(audio_branch()))
  for name, tensor in want.carried.items():
    np.testing.assert_array_equal(source.carried[name].read(), tensor.read())


def test_what_is_unknown_is_for_the_import_to_report():
  arrays = audio_branch() | {"module.cls_token": np.zeros((1, 1, 48))}
  source = from_names(as_tensors(arrays))
  assert "model.audio_encoder.cls_token" in source.tensors


def unread(shape: tuple[int, ...]) -> Tensor:
  def read():
    raise AssertionError("read")

  return Tensor(shape, np.dtype(np.float32), read, "file: name")


def test_sizes_of_the_published_model_and_nothing_is_read():
  shapes = {
    "patch_embed_a.proj.weight": (768, 1, 16, 16),
    "pos_embed_a": (1, 512, 768),
    "blocks_u.0.mlp.fc1.weight": (3072, 768),
  }
  shapes |= {f"blocks_a.{i}.mlp.fc1.weight": (3072, 768) for i in range(11)}
  source = from_names({name: unread(s) for name, s in shapes.items()})
  assert source.parts["encoder"] == EncoderConfig()
  assert len(source.notes) == 1
  assert "took heads=12 (width 768 / 64)" in source.notes[0]
  shapes["pos_embed_a"] = (1, 400, 768)
  source = from_names({name: unread(s) for name, s in shapes.items()})
  assert source.parts["encoder"] == EncoderConfig(num_frames=800)
  assert "clips of 800 frames" in source.notes[1]


def test_foreign_weights_are_one_clear_error():
  with pytest.raises(ConversionError) as e:
    from_names({"wte.weight": unread((5, 3))}, "gpt.bin")
  message = str(e.value)
  assert "gpt.bin: no CAV-MAE checkpoint" in message
  assert "1 tensors, such as wte.weight" in message
  for name in ("patch_embed_a.proj.weight", "pos_embed_a", "blocks_a.0.mlp"):
    assert re.search(rf"missing +{re.escape(name)}", message)
  with pytest.raises(ConversionError, match="0 tensors:"):
    from_names({})


@pytest.mark.parametrize(
  ("changes", "messages"),
  [
    (
      {"pos_embed_a": (512, 48), "blocks_a.0.mlp.fc1.weight": (192, 40)},
      [
        r"pos_embed_a +\(512, 48\), not \[1, patches, width 48\]",
        r"fc1.weight +\(192, 40\), not \[hidden 192, width 48\]",
      ],
    ),
    (
      {"pos_embed_a": (1, 500, 48), "blocks_a.0.mlp.fc1.weight": (200, 48)},
      ["500 patches are no multiple of the 8", "hidden 200 is no multiple"],
    ),
    (
      {"patch_embed_a.proj.weight": (48, 1, 20, 16)},
      ["patches of 20 mels do not tile 128"],
    ),
    (
      {"patch_embed_a.proj.weight": (0, 1, 16, 16)},
      [r"\(0, 1, 16, 16\), not"],
    ),
    ({"blocks_a.3.attn.proj.bias": (48,)}, ["numbers 0, 1, 3 leave some out"]),
    (
      {"module.norm_a.bias": (48,), "pos_embed_a": (3,)},
      [r"twice +module.norm_a.bias +also as file: norm_a.bias", r"\(3,\), not"],
    ),
  ],
)
def test_all_that_contradicts_is_listed(changes, messages):
  tensors = as_tensors(audio_branch())
  tensors |= {name: unread(shape) for name, shape in changes.items()}
  with pytest.raises(ConversionError) as e:
    from_names(tensors, "a.pth")
  for message in messages:
    assert re.search(message, str(e.value)), str(e.value)
  assert len(str(e.value).splitlines()) == 1 + len(messages)
