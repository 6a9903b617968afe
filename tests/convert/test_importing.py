"""Sources into base folders and out again: every bit, or a table of errors."""

import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import textwrap

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import golden_data
from ltu_jax import base
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.convert import importing
from ltu_jax.convert.from_run import base_source, open_base
from ltu_jax.convert.names import (
  PREFIX,
  carried_defaults,
  is_carried,
  part_of_name,
)
from ltu_jax.convert.tensors import ConversionError, Source, Tensor, of_array
from random_weights import ALL, models, random_source, same, sizes


@given(cfg=models(), names=st.sampled_from([ALL, ALL[:3], ("encoder",)]))
@settings(max_examples=12, deadline=None)
def test_round_trip_is_bit_exact(cfg, names):
  source = random_source(cfg, names)
  with tempfile.TemporaryDirectory() as folder:
    out = f"{folder}/base"
    importing.import_base(out, source, ["random"], progress=False)
    again = base_source(out)
    assert again.parts == source.parts
    same(again.tensors, source.tensors)


def test_dtypes(tmp_path):
  """float16 weights stored as bf16 are the nearest ones; float32 keeps all."""
  cfg = golden_data.config("forward_a")
  half = dataclasses.replace(cfg.llama, param_dtype="float16")
  source = random_source(dataclasses.replace(cfg, llama=half), ["llama"])
  for dtype in ("bfloat16", "float32"):
    llama = dataclasses.replace(half, param_dtype=dtype)
    changed = dataclasses.replace(source, parts={"llama": llama})
    lines = importing.import_base(tmp_path / dtype, changed, [], False)
    assert any(f"float16 -> {dtype}" in line for line in lines)
    for name, tensor in base_source(tmp_path / dtype).tensors.items():
      want = source.tensors[name].read().astype(dtype)
      assert tensor.read().tobytes() == want.tobytes()
  big = {**source.tensors}
  big["model.norm.weight"] = of_array(np.full(64, 1e6, np.float32), "f: norm")
  with pytest.raises(ConversionError, match="too large for float16, in f: no"):
    importing.import_base(
      tmp_path / "x", dataclasses.replace(source, tensors=big), [], False
    )


def test_every_problem_in_one_table_and_nothing_written(tmp_path):
  cfg = golden_data.config("forward_a")
  source = random_source(cfg)
  tensors = dict(source.tensors)
  q = "model.layers.{}.self_attn.q_proj.weight"
  del tensors[q.format(0)]
  tensors[q.format(1)] = of_array(np.ones((64, 32), np.float32), "a.bin: q")
  tensors["model.layers.7.mlp.weight"] = of_array(np.ones(3), "a.bin: m")
  with pytest.raises(ConversionError) as e:
    importing.import_base(
      tmp_path / "b", dataclasses.replace(source, tensors=tensors), [], False
    )
  table = str(e.value)
  assert "nothing was written; 3 tensors are wrong" in table
  assert f"missing     {q.format(0)}  [64, 64] is needed" in table
  assert "[64, 32] in a.bin: q, the model has [64, 64]" in table
  assert "unexpected  model.layers.7.mlp.weight" in table
  # Numbers are seen only when read; still all of them are named.
  tensors = dict(source.tensors)
  bad = ["lm_head.weight", "model.audio_proj.1.bias"]
  for name, value in zip(bad, (np.nan, np.inf), strict=True):
    array = tensors[name].read().copy()
    array.flat[-1] = value
    tensors[name] = of_array(array)
  with pytest.raises(ConversionError) as e:
    importing.import_base(
      tmp_path / "b", dataclasses.replace(source, tensors=tensors), [], False
    )
  assert [name in str(e.value) for name in bad] == [True, True]
  assert str(e.value).count("not finite") == 2
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_all_finite(dtype):
  dtype = np.dtype(dtype)
  bits = np.arange(1 << 16, dtype=np.uint16)
  values = bits.view(dtype) if dtype.itemsize == 2 else bits.astype(dtype)
  good = values[np.isfinite(values.astype(np.float32))]
  assert importing.all_finite(good)
  for value in values[~np.isfinite(values.astype(np.float32))]:
    assert not importing.all_finite(np.append(good[:5], value))
  assert importing.all_finite(np.empty(0, dtype))
  long = np.zeros((importing._BLOCK + 3, 1), dtype)
  long[-1] = np.nan
  assert not importing.all_finite(long)


def test_what_has_no_use_may_not_fill_the_memory(tmp_path):
  source = random_source(golden_data.config("forward_a"), ["encoder"])
  name = "model.layers.0.self_attn.rotary_emb.inv_freq"
  huge = Tensor(
    (1 << 40,), np.dtype(np.float32), lambda: None, f"a.bin: {name}"
  )
  source = dataclasses.replace(source, carried={name: huge})
  with pytest.raises(
    ConversionError, match=r"4,398,046,511,104 bytes .*a\.bin"
  ):
    importing.import_base(tmp_path / "out", source, [], False)
  assert not list(tmp_path.iterdir())


def test_later_sources_replace_parts():
  cfg = golden_data.config("forward_a")
  one, two = random_source(cfg, seed=1), random_source(cfg, ["llama"], seed=2)
  merged = importing.merge([one, two])
  # Another decoder: the adapters of the one before would be wrong.
  assert set(merged.parts) == {"encoder", "projector", "llama"}
  assert merged.notes == ("dropped lora of the sources before",)
  for name, tensor in merged.tensors.items():
    source = two if part_of_name(name) == "llama" else one
    assert tensor is source.tensors[name]


def test_override():
  parts = sizes(golden_data.config("forward_a"))
  new = importing.override(
    parts,
    [
      "encoder.heads=2",
      "lora.alpha=3",
      "lora.targets=q_proj,k_proj",
      "llama.tied=true",
      "llama.param_dtype=float16",
    ],
  )
  assert new["encoder"].heads == 2
  assert new["lora"].alpha == 3.0
  assert new["lora"].targets == ("q_proj", "k_proj")
  assert new["llama"].tied is True and new["llama"].param_dtype == "float16"
  for wrong in ("encoder.head=2", "llama", "encoder.heads=x", "llama.heads=5"):
    with pytest.raises(ConversionError, match=f"--set {wrong}"):
      importing.override(parts, [wrong])


def test_adapters_need_their_decoder(tmp_path):
  source = random_source(golden_data.config("forward_a"), ["lora"])
  with pytest.raises(ConversionError, match="without the decoder"):
    importing.import_base(tmp_path / "b", source, [], False)


def test_killed_import_is_never_taken_for_whole(tmp_path):
  """SIGKILL in the middle, then the same import again."""
  out = tmp_path / "b"
  code = f"""
    import os, signal
    import numpy as np
    from ltu_jax import base
    base._FLUSH_BYTES = 1
    with base.BaseWriter({str(out)!r}, {{}}, []) as writer:
      writer.add("a", np.ones(5))
      os.kill(os.getpid(), signal.SIGKILL)
  """
  done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
  assert done.returncode == -signal.SIGKILL
  assert [p.name for p in tmp_path.iterdir()] == ["b.incomplete"]
  with pytest.raises(CheckpointError, match="no base weights"):
    base.info(out)
  source = random_source(golden_data.config("forward_a"))
  importing.import_base(out, source, [], False)
  assert [p.name for p in tmp_path.iterdir()] == ["b"]
  same(open_base(out).tensors, source.tensors)


def test_golden_weights_survive(tmp_path):
  """Every entry of the published model, the unused ones too."""
  cfg = golden_data.config("forward_a")
  given = {
    name.removeprefix(PREFIX): of_array(array)
    for name, array in golden_data.params("forward_a").items()
  }
  used = {k: v for k, v in given.items() if not is_carried(k)}
  carried = {k: v for k, v in given.items() if is_carried(k)}
  # The defaults have the same names and shapes as what the model carries.
  defaults = carried_defaults(cfg.encoder, cfg.llama)
  assert {k: v.shape for k, v in defaults.items()} == {
    k: v.shape for k, v in carried.items()
  }
  importing.import_base(
    tmp_path / "b", Source(used, sizes(cfg), carried), [], False
  )
  opened = open_base(tmp_path / "b")
  same(opened.tensors | opened.carried, given)
  assert opened.cfg == cfg


def test_partial_base_is_not_exported(tmp_path):
  source = random_source(golden_data.config("forward_a"), ["llama"])
  importing.import_base(tmp_path / "b", source, [], False)
  with pytest.raises(ConversionError, match="no weights for encoder, proj"):
    open_base(tmp_path / "b")


def test_a_base_json_of_another_model_is_one_error(tmp_path):
  source = random_source(golden_data.config("forward_a"), ["llama"])
  importing.import_base(tmp_path / "b", source, [], False)
  path = tmp_path / "b" / "base.json"
  found = json.loads(path.read_text())
  found["parts"]["llama"]["layers"] += 1
  with pytest.raises(CheckpointError, match="it is not what was written"):
    path.write_text(json.dumps(found))
    base_source(tmp_path / "b")
  del found["digest"]  # as a folder from before there was one
  path.write_text(json.dumps(found))
  with pytest.raises(CheckpointError, match=r"lack llama/layers/2/"):
    base_source(tmp_path / "b")


def test_bf16_is_read_as_bf16(tmp_path):
  cfg = dataclasses.replace(
    golden_data.config("forward_a"),
    llama=dataclasses.replace(
      golden_data.config("forward_a").llama, param_dtype="bfloat16"
    ),
  )
  importing.import_base(tmp_path / "b", random_source(cfg), [], False)
  tensors = open_base(tmp_path / "b").tensors
  dtype = tensors["lm_head.weight"].dtype
  assert dtype == ml_dtypes.bfloat16
  lora = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
  assert tensors[lora].dtype == np.float32
