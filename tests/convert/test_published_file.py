"""The published file: the golden data has all entries of one."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from safetensors.numpy import save_file

import golden_data
from ltu_jax.convert.names import PREFIX, carried_defaults, is_carried
from ltu_jax.convert.published import read_published
from ltu_jax.convert.tensors import ConversionError
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig
from ltu_jax.models.projector import ProjectorConfig


def write(path, arrays):
  if path.suffix == ".bin":
    torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, path)
  else:
    save_file(arrays, path)
  return path


def trained(arrays):
  """What LTU's scripts save: "lora" or "audio" in the name."""
  return {k: v for k, v in arrays.items() if "lora" in k or "audio" in k}


def check_nothing_lost(source, arrays):
  found = {**source.tensors, **source.carried}
  assert len(found) == len(source.tensors) + len(source.carried) == len(arrays)
  for name, array in arrays.items():
    tensor = found[name.removeprefix(PREFIX)]
    assert tensor.shape == array.shape and tensor.dtype == array.dtype
    np.testing.assert_array_equal(tensor.read(), array)
  assert set(source.carried) == {n for n in found if is_carried(n)}


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("name", ["forward_a", "forward_b"])
def test_the_golden_model(tmp_path, suffix, prefix, name):
  arrays = golden_data.params(name)
  if not prefix:
    arrays = {k.removeprefix(PREFIX): v for k, v in arrays.items()}
  want, m = golden_data.config(name), golden_data.meta(name)
  source = read_published(write(tmp_path / f"ltu{suffix}", arrays), want.llama)
  check_nothing_lost(source, arrays)
  assert set(source.carried) == set(carried_defaults(want.encoder, want.llama))
  assert source.parts == {
    # The file does not say that its heads are of another width than CAV-MAE's.
    "encoder": EncoderConfig(dim=m["enc_dim"], depth=m["enc_depth"], heads=1),
    "projector": ProjectorConfig(),
    "llama": want.llama,
    "lora": LoraConfig(rank=m["lora_r"]),
  }
  notes = "\n".join(source.notes)
  assert "encoder's heads" in notes and "alpha is not in the file: 16" in notes


def test_the_trained_part(tmp_path):
  arrays = trained(golden_data.params("forward_a"))
  source = read_published(write(tmp_path / "ltu.bin", arrays), LlamaConfig())
  check_nothing_lost(source, arrays)
  assert set(source.parts) == {"encoder", "projector", "lora"}


def test_stage_1_has_no_adapters(tmp_path):
  arrays = trained(golden_data.params("forward_a"))
  arrays = {k: v for k, v in arrays.items() if "lora" not in k}
  source = read_published(write(tmp_path / "ltu.bin", arrays))
  check_nothing_lost(source, arrays)
  assert set(source.parts) == {"encoder", "projector"}


def test_all_weights_without_the_decoders_config(tmp_path):
  arrays = golden_data.params("forward_a")
  arrays = {k: v for k, v in arrays.items() if "lora" not in k}
  source = read_published(write(tmp_path / "ltu.bin", arrays))
  check_nothing_lost(source, arrays)
  m = golden_data.meta("forward_a")
  assert source.parts["llama"] == LlamaConfig(
    vocab=m["vocab"],
    dim=m["hidden"],
    mlp_dim=m["inter"],
    layers=m["layers"],
    heads=1,
    kv_heads=1,
  )
  assert any("decoder's heads" in note for note in source.notes)


def shapes_of(cfg: LtuConfig) -> dict[str, tuple[int, ...]]:
  """What sizes are read from, as torch has it: [out, in]."""
  e, d, r = cfg.encoder, cfg.llama, cfg.lora
  ear = "model.audio_encoder"
  shapes = {
    f"{ear}.patch_embed_a.proj.weight": (
      e.dim,
      1,
      e.patch_mels,
      e.patch_frames,
    ),
    f"{ear}.pos_embed_a": (1, int(np.prod(e.grid)), e.dim),
    f"{ear}.blocks_u.0.mlp.fc1.weight": (e.dim * e.mlp_ratio, e.dim),
    "model.embed_tokens.weight": (d.vocab, d.dim),
  }
  for i in range(e.depth - 1):
    shapes[f"{ear}.blocks_a.{i}.norm1.weight"] = (e.dim,)
  for i in range(d.layers):
    at, rows = f"model.layers.{i}", d.head_dim * d.heads
    shapes[f"{at}.mlp.gate_proj.weight"] = (d.mlp_dim, d.dim)
    shapes[f"{at}.self_attn.q_proj.weight"] = (rows, d.dim)
    keys = d.head_dim * d.kv_heads
    shapes[f"{at}.self_attn.k_proj.weight"] = (keys, d.dim)
    for target in r.targets:
      lora = f"{at}.self_attn.{target}.lora"
      shapes[f"{lora}_A.default.weight"] = (r.rank, d.dim)
      shapes[f"{lora}_B.default.weight"] = (rows, r.rank)
  if not d.tied:
    shapes["lm_head.weight"] = (d.vocab, d.dim)
  return shapes


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(
  st.builds(
    EncoderConfig,
    dim=st.sampled_from([64, 128]),
    depth=st.integers(1, 12),
    heads=st.just(1),  # set below
    mlp_ratio=st.integers(1, 5),
    patch_mels=st.sampled_from([8, 16, 128]),
    patch_frames=st.sampled_from([2, 16]),
    num_frames=st.sampled_from([64, 1024]),
  ),
  st.builds(
    LlamaConfig,
    vocab=st.integers(1, 9),
    dim=st.sampled_from([128, 384]),
    mlp_dim=st.integers(1, 9),
    layers=st.integers(1, 11),
    heads=st.sampled_from([2, 4]),
    kv_heads=st.sampled_from([1, 2]),
    head_dim=st.just(128),
    tied=st.booleans(),
  ),
  st.builds(
    LoraConfig,
    rank=st.integers(1, 9),
    targets=st.sampled_from([("q_proj", "v_proj"), ("q_proj", "o_proj")]),
  ),
)
def test_sizes_are_read_off_the_shapes(tmp_path_factory, encoder, llama, lora):
  encoder = golden_data.with_encoder(
    LtuConfig(encoder=encoder), heads=encoder.dim // 64
  ).encoder
  cfg = LtuConfig(encoder=encoder, llama=llama, lora=lora)
  arrays = {
    name: np.zeros(shape, np.bool_) for name, shape in shapes_of(cfg).items()
  }
  path = tmp_path_factory.mktemp("sizes") / "ltu.safetensors"
  source = read_published(write(path, arrays))
  assert source.parts == {"encoder": encoder, "llama": llama, "lora": lora}


def test_gaps_and_unknown_names_are_left_to_be_reported(tmp_path):
  arrays = trained(golden_data.params("forward_a"))
  arrays = {k: v for k, v in arrays.items() if "blocks_a.0." not in k}
  arrays[f"{PREFIX}model.vision_tower.w"] = np.ones(1, np.float32)
  source = read_published(write(tmp_path / "ltu.bin", arrays))
  check_nothing_lost(source, arrays)
  assert source.parts["encoder"].depth == 3
  assert set(source.parts) == {"encoder", "projector", "lora"}


def test_prefixes_are_all_or_none(tmp_path):
  arrays = trained(golden_data.params("forward_a"))
  first = next(iter(arrays))
  arrays[first.removeprefix(PREFIX)] = arrays.pop(first)
  with pytest.raises(ConversionError, match="lack 'base_model") as e:
    read_published(write(tmp_path / "ltu.bin", arrays))
  assert "ltu.bin" in str(e.value) and first.removeprefix(PREFIX) in str(
    e.value
  )


@pytest.mark.parametrize("arrays", [{}, {"fc.weight": np.ones(2)}])
def test_other_files_are_no_checkpoints(tmp_path, arrays):
  with pytest.raises(ConversionError, match=r"ltu\.bin: no checkpoint of LTU"):
    read_published(write(tmp_path / "ltu.bin", arrays))


EAR = f"{PREFIX}model.audio_encoder"
Q0 = f"{PREFIX}model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
  ("name", "array", "says"),
  [
    (f"{EAR}.pos_embed_a", None, "encoder's sizes cannot be told"),
    (f"{EAR}.pos_embed_a", np.ones(3), "mis-shaped"),
    (f"{EAR}.pos_embed_a", np.ones((1, 510, 48)), "510 positions"),
    (f"{EAR}.blocks_u.0.mlp.fc1.weight", np.ones((50, 48)), "width 50"),
    (f"{EAR}.patch_embed_a.proj.weight", np.ones((48, 1, 256, 2)), "256 x 2"),
    (f"{PREFIX}model.embed_tokens.weight", None, "decoder's sizes cannot"),
    (f"{Q0}.weight", np.ones((0, 64)), "mis-shaped"),
    (f"{Q0}.weight", np.ones((256, 64)), "give the decoder's folder"),
    (f"{Q0}.lora_A.default.weight", np.ones((4, 64)), "several ranks"),
    (f"{Q0}.lora_C.default.weight", np.ones((4, 64)), "no adapter of LLaMA"),
  ],
)
def test_sizes_that_cannot_be_told(tmp_path, name, array, says):
  arrays = dict(golden_data.params("forward_a"))
  arrays.pop(name, None)
  if array is not None:
    arrays[name] = array
  with pytest.raises(ConversionError, match=says) as e:
    read_published(write(tmp_path / "ltu.bin", arrays))
  assert "ltu.bin" in str(e.value)


def test_damaged_files(tmp_path):
  path = write(tmp_path / "ltu.bin", trained(golden_data.params("forward_a")))
  path.write_bytes(path.read_bytes()[:-1000])
  with pytest.raises(ConversionError, match=r"ltu\.bin: damaged"):
    read_published(path)
