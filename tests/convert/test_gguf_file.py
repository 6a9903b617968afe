"""GGUF's container against the gguf library, whole, cut off and damaged."""

import pathlib
import sys
import tracemalloc

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import given, settings
from hypothesis import strategies as st

from ltu_jax.convert import gguf_file
from ltu_jax.convert.gguf import read_gguf
from ltu_jax.convert.tensors import ConversionError
from tiny_gguf import bpe_tokenizer, spm_tokenizer, write


def one_tensor(path, kind, shape, data) -> pathlib.Path:
  writer = gguf.GGUFWriter(path, "llama")
  writer.add_tensor("x", data.reshape(shape[0], -1), raw_dtype=kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


@pytest.mark.parametrize(
  "kind", [Kind.Q2_K, Kind.Q4_K, Kind.Q6_K, Kind.IQ4_XS, Kind.TQ1_0, Kind.Q4_0]
)
@pytest.mark.parametrize("slab", [300, 1 << 22])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_other_quantizations_are_the_librarys(
  tmp_path, kind, slab, monkeypatch
):
  # Any bytes are numbers, some of them infinite.
  block, size = gguf.GGML_QUANT_SIZES[kind]
  shape = (7, 512)
  count = shape[0] * shape[1] // block * size
  data = np.random.default_rng(0).integers(0, 256, count, np.uint8)
  path = one_tensor(tmp_path / "x.gguf", kind, shape, data)
  monkeypatch.setattr(gguf_file, "_SLAB", slab)
  file = gguf_file.open_gguf(path)
  tensor = gguf.GGUFReader(path).tensors[0]
  want = gguf.quants.dequantize(np.asarray(tensor.data), kind)
  got = file.read("x")
  assert got.shape == file.tensors["x"].shape == shape
  np.testing.assert_array_equal(got, want)


def test_types_that_cannot_be_dequantized_are_listed(tmp_path):
  path = one_tensor(tmp_path / "x.gguf", Kind.I32, (4, 8), np.arange(32))
  with pytest.raises(ConversionError, match="x  type I32 cannot be deq"):
    gguf_file.open_gguf(path)


def test_metadata_is_what_the_library_reads(tmp_path):
  path = write(
    tmp_path, a__list=[1.5, 0.1, -3.0], a__flag=True, a__big=-5, a__text="é\n"
  )
  ours = gguf_file.open_gguf(path).metadata
  theirs = gguf.GGUFReader(path).fields
  assert ours.keys() == {k for k in theirs if not k.startswith("GGUF.")}
  for key, value in ours.items():
    want = theirs[key].contents()
    if isinstance(value, float) or key == "a.list":
      value = np.array(value, np.float32).tolist()
    assert value == want, key
  assert ours["llama.attention.layer_norm_rms_epsilon"] == 1e-5


def test_reading_holds_one_tensor_and_a_slab(tmp_path, monkeypatch):
  monkeypatch.setattr(gguf_file, "_SLAB", 1 << 16)
  array = np.ones((2048, 1024), np.float32)
  data = gguf.quants.quantize(array, Kind.Q8_0)
  path = one_tensor(tmp_path / "x.gguf", Kind.Q8_0, array.shape, data)
  file = gguf_file.open_gguf(path)
  file.read("x")
  tracemalloc.start()
  file.read("x")
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  # 8 MiB and a slab of 64 K numbers, of which the library makes a few copies.
  assert peak < array.nbytes + 8 * (1 << 16) * 4
  assert "x.gguf" not in pathlib.Path("/proc/self/maps").read_text()


def test_a_file_cut_off_anywhere_is_named(tmp_path):
  path = write(tmp_path)
  whole = path.read_bytes()
  start = gguf.GGUFReader(path).data_offset
  cuts = [*range(0, 64), *range(64, start, 97), start, len(whole) - 1]
  path = tmp_path / "cut.gguf"
  for cut in cuts:
    path.write_bytes(whole[:cut])
    with pytest.raises(ConversionError, match=r"cut\.gguf: "):
      read_gguf(path)


@pytest.fixture(scope="module", params=["bpe", "sentencepiece"])
def written(tmp_path_factory, request):
  folder = tmp_path_factory.mktemp("gguf")
  kinds = {"bpe": bpe_tokenizer, "sentencepiece": spm_tokenizer}
  path = write(folder, tokenizer=kinds[request.param])
  header = gguf.GGUFReader(path).data_offset
  return path.read_bytes(), header, folder / "changed.gguf"


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_a_damaged_file_is_read_or_refused(written, data):
  """A changed byte of the header: another model, or a ConversionError."""
  whole, header, path = written
  changed = bytearray(whole)
  at = data.draw(st.integers(0, header - 1))
  changed[at] ^= data.draw(st.integers(1, 255))
  path.write_bytes(changed)
  try:
    read_gguf(path)
  except ConversionError as e:
    assert "changed.gguf" in str(e)


def test_a_file_that_changes_after_opening_is_named(tmp_path):
  path = write(tmp_path)
  source = read_gguf(path)
  path.write_bytes(path.read_bytes()[:-4000])
  with pytest.raises(ConversionError, match=r"tiny\.gguf: ends inside of"):
    for tensor in source.tensors.values():
      tensor.read()
  path.unlink()
  with pytest.raises(ConversionError, match=r"tiny\.gguf: cannot be read"):
    source.tensors["model.norm.weight"].read()


def test_other_files_are_named(tmp_path):
  with pytest.raises(ConversionError, match=r"none\.gguf: cannot be read"):
    read_gguf(tmp_path / "none.gguf")
  (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04" * 9)
  with pytest.raises(ConversionError, match=r'x\.gguf: .*with "GGUF"'):
    read_gguf(tmp_path / "x.gguf")


def test_without_the_library_the_message_says_how_to_get_it(
  tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "gguf", None)
  with pytest.raises(ConversionError, match=r"install 'ltu-jax\[convert\]'"):
    read_gguf(tmp_path / "x.gguf")
