"""What torch and safetensors wrote comes back bit by bit; no code is run."""

import json
import pathlib
import pickle
import sys

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save_file

from ltu_jax.convert import torch_files
from ltu_jax.convert.files import (
  open_safetensors,
  open_torch,
  open_weights,
  read_json,
  safetensors_metadata,
)
from ltu_jax.convert.tensors import ConversionError

UNSIGNED = [torch.uint16, torch.uint32, torch.uint64]
DTYPES = [
  *(torch.bool, torch.uint8, *UNSIGNED),
  *(torch.int8, torch.int16, torch.int32, torch.int64),
  *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
]

SAVERS = {
  "a.safetensors": save_file,
  "a.bin": torch.save,
  "old.bin": lambda state, path: torch.save(
    state, path, _use_new_zipfile_serialization=False
  ),
}


def raw(tensor: torch.Tensor) -> bytes:
  if not tensor.numel():
    return b""
  return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def random_bits(shape: tuple[int, ...], dtype: torch.dtype, seed: int):
  """Any bits, NaNs and infinities among them; 0 and 1 where it is bool."""
  if 0 in shape:
    return torch.zeros(shape, dtype=dtype)
  size = int(np.prod(shape)) * dtype.itemsize
  high = 2 if dtype == torch.bool else 256
  bits = np.random.default_rng(seed).integers(0, high, size, np.uint8)
  return torch.from_numpy(bits).view(dtype).reshape(shape)


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
  st.dictionaries(
    st.text("abc.0_", min_size=1, max_size=9),
    st.tuples(
      st.lists(st.integers(0, 5), max_size=4),
      st.sampled_from(DTYPES),
      st.integers(0, 99),
    ),
    max_size=6,
  ),
  st.sampled_from(sorted(SAVERS)),
)
def test_every_bit_comes_back(tmp_path_factory, wanted, name):
  state = {
    key: random_bits(tuple(shape), dtype, seed)
    for key, (shape, dtype, seed) in wanted.items()
    # The old format is older than these, and torch itself cannot read them.
    if name != "old.bin" or dtype not in UNSIGNED
  }
  path = tmp_path_factory.mktemp("bits") / name
  SAVERS[name](state, path)
  found = open_weights(path)
  assert set(found) == set(state)
  for key, tensor in found.items():
    array = tensor.read()
    assert tensor.shape == array.shape == tuple(state[key].shape)
    assert tensor.dtype == array.dtype
    assert f"torch.{array.dtype.name}" == str(state[key].dtype)
    assert array.tobytes() == raw(state[key])
    assert str(path) in tensor.origin and key in tensor.origin


def test_views_of_torch_are_read_as_what_they_show(tmp_path):
  whole = torch.arange(24.0).reshape(4, 6)
  state = {"t": whole.T, "part": whole[1:3, ::2].bfloat16().T, "whole": whole}
  torch.save(state, tmp_path / "a.bin")
  found = open_torch(tmp_path / "a.bin")
  for name, tensor in state.items():
    np.testing.assert_array_equal(
      found[name].read().astype(np.float32), tensor.float().numpy()
    )


def test_parameters_are_tensors(tmp_path):
  torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "a.bin")
  module = {"w": torch.nn.Parameter(torch.ones(2))}
  torch.save(module, tmp_path / "b.bin")
  assert set(open_torch(tmp_path / "a.bin")) == {"weight", "bias"}
  assert open_torch(tmp_path / "b.bin")["w"].read().tolist() == [1, 1]


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_a_wrapped_state_dict_is_unwrapped(tmp_path, key):
  wrapped = {key: {"w": torch.ones(2)}, "epoch": 3}
  torch.save(wrapped, tmp_path / "a.bin")
  assert set(open_torch(tmp_path / "a.bin")) == {"w"}
  torch.save({"model": {}, "state_dict": {}}, tmp_path / "both.bin")
  with pytest.raises(ConversionError, match="both 'state_dict' and 'model'"):
    open_torch(tmp_path / "both.bin")


def test_what_is_no_tensor_is_listed(tmp_path):
  state = {
    "fine": torch.ones(1),
    "epoch": 3,
    "sparse": torch.eye(2).to_sparse(),
    "eight": torch.ones(1).to(torch.float8_e4m3fn),
    5: torch.ones(1),
  }
  torch.save(state, tmp_path / "a.bin")
  with pytest.raises(ConversionError) as e:
    open_torch(tmp_path / "a.bin")
  for word in ("a.bin", "epoch", "int", "sparse", "eight", "float8", "5"):
    assert word in str(e.value)
  assert "fine" not in str(e.value)
  torch.save([torch.ones(1)], tmp_path / "list.bin")
  with pytest.raises(ConversionError, match=r"list\.bin: holds a list"):
    open_torch(tmp_path / "list.bin")


def test_unknown_dtypes_of_safetensors_are_listed(tmp_path):
  eight = {n: torch.ones(1).to(torch.float8_e5m2) for n in ("one", "two")}
  save_file(eight, tmp_path / "a.safetensors")
  with pytest.raises(ConversionError) as e:
    open_safetensors(tmp_path / "a.safetensors")
  for word in ("a.safetensors", "one", "two", "F8_E5M2"):
    assert word in str(e.value)


def test_metadata(tmp_path):
  state = {"w": torch.ones(1)}
  save_file(state, tmp_path / "a", metadata={"encoder": "{}"})
  save_file(state, tmp_path / "b")
  assert safetensors_metadata(tmp_path / "a") == {"encoder": "{}"}
  assert safetensors_metadata(tmp_path / "b") == {}


class Creates:
  """Unpickled, it creates a file: what a malicious checkpoint does."""

  def __init__(self, path: pathlib.Path):
    self.path = path

  def __reduce__(self):
    return (pathlib.Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["a.bin", "old.bin", "raw.bin"])
@pytest.mark.parametrize("read", [open_torch, open_weights])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, name, read):
  mark, path = tmp_path / "created", tmp_path / name
  evil = {"w": torch.ones(1), "x": Creates(mark)}
  if name == "raw.bin":
    path.write_bytes(pickle.dumps(evil, protocol=2))
  else:
    SAVERS[name](evil, path)
  with pytest.raises(ConversionError, match=f"{name}: refused, it holds code"):
    read(path)
  assert not mark.exists()
  # The danger is real: without the restriction it runs.
  if name == "raw.bin":
    pickle.loads(path.read_bytes())
  else:
    torch.load(path, weights_only=False)
  assert mark.exists()


def test_a_saved_module_is_refused_as_code(tmp_path):
  torch.save(torch.nn.Linear(2, 2), tmp_path / "a.bin")
  with pytest.raises(ConversionError, match=r"code \(torch\.nn\.modules"):
    open_weights(tmp_path / "a.bin")


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(
  st.sampled_from(sorted(SAVERS)),
  st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
    max_size=4,
  ),
  st.floats(0, 1),
)
def test_damage_gives_one_clear_error(tmp_path_factory, name, changes, keep):
  """Changed and cut files: ConversionError, or data of the stated shape."""
  folder = tmp_path_factory.getbasetemp() / "damage"
  folder.mkdir(exist_ok=True)
  if not (whole := folder / f"whole_{name}").exists():
    SAVERS[name]({"a.b": torch.ones(3, 4), "c": torch.ones(2)}, whole)
  content = bytearray(whole.read_bytes())
  for where, byte in changes:
    content[int(where * len(content))] = byte
  path = folder / name
  path.write_bytes(content[: round(keep * len(content))])
  try:
    for tensor in open_weights(path).values():
      assert tensor.read().shape == tensor.shape
  except ConversionError as e:
    assert str(path) in str(e)


@pytest.mark.parametrize(
  ("content", "says"),
  [
    (b"", "is empty"),
    (b"just some text, long enough", "neither safetensors nor a torch file"),
    (b"cos\nsystem\n(S'true'\ntR.", "neither safetensors nor a torch file"),
    (b"GGUF\3\0\0\0" + bytes(90), "neither safetensors nor a torch file"),
    (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    (b"\x10\0\0\0\0\0\0\0{'no': 'json'}", "cannot be read as safetensors"),
    (b"\x80\x02", "damaged, or no torch file"),
    (b"PK\x03\x04", "damaged, or no torch file"),
  ],
)
def test_other_files(tmp_path, content, says):
  path = tmp_path / "a.bin"
  path.write_bytes(content)
  with pytest.raises(ConversionError, match=says) as e:
    open_weights(path)
  assert str(path) in str(e.value)


@pytest.mark.parametrize("read", [open_safetensors, open_torch, open_weights])
def test_missing_files(tmp_path, read):
  with pytest.raises(ConversionError, match="nothing_here"):
    read(tmp_path / "nothing_here")


def test_without_torch(tmp_path, monkeypatch):
  torch.save({"w": torch.ones(1)}, tmp_path / "a.bin")
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(
    ConversionError, match=r"pip install 'ltu-jax\[convert\]'"
  ):
    open_weights(tmp_path / "a.bin")


def resident() -> int:
  """Bytes of memory of this process, mapped pages of files among them."""
  pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
  return int(pages) * 4096


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_reading_through_a_file_does_not_keep_it_in_memory(
  tmp_path, monkeypatch, name
):
  tensor_bytes, count = 2**22, 32
  monkeypatch.setattr(torch_files, "MAPPED_BYTES", 4 * tensor_bytes)
  state = {str(i): torch.ones(tensor_bytes // 4) for i in range(count)}
  SAVERS[name](state, tmp_path / name)
  del state
  found = open_weights(tmp_path / name)
  found["0"].read()
  start, most = resident(), 0
  for tensor in found.values():
    assert tensor.read()[-1] == 1
    most = max(most, resident() - start)
  # What may be mapped, one tensor more, and as much for the allocator.
  assert most < 10 * tensor_bytes < count * tensor_bytes / 3


def shards(folder: pathlib.Path, name: str) -> dict[str, torch.Tensor]:
  """A folder of two shards with an index, as Hugging Face has it."""
  stem, suffix = name.split(".")
  save = SAVERS[f"a.{suffix}"]
  state = {key: torch.rand(2, 3) for key in "abc"}
  one, two = f"{stem}-1-of-2.{suffix}", f"{stem}-2-of-2.{suffix}"
  save({"a": state["a"]}, folder / one)
  save({"b": state["b"], "c": state["c"]}, folder / two)
  weight_map = {"a": one, "b": two, "c": two}
  index = {"metadata": {}, "weight_map": weight_map}
  (folder / f"{name}.index.json").write_text(json.dumps(index))
  return state


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_shards_with_an_index(tmp_path, name):
  state = shards(tmp_path, name)
  found = open_weights(tmp_path)
  assert set(found) == set(state)
  for key in "cabca":  # back and forth between the files
    np.testing.assert_array_equal(found[key].read(), state[key].numpy())


def test_which_file_of_a_folder_is_read(tmp_path):
  """As transformers: safetensors before torch, a whole file before shards."""
  with pytest.raises(ConversionError, match=r"has none of model\.safetensors"):
    open_weights(tmp_path)
  shards(tmp_path, "pytorch_model.bin")
  assert set(open_weights(tmp_path)) == set("abc")
  torch.save({"bin": torch.ones(1)}, tmp_path / "pytorch_model.bin")
  assert set(open_weights(tmp_path)) == {"bin"}
  shards(tmp_path, "model.safetensors")
  assert set(open_weights(tmp_path)) == set("abc")
  save_file({"whole": torch.ones(1)}, tmp_path / "model.safetensors")
  assert set(open_weights(tmp_path)) == {"whole"}
  save_file({"lora": torch.ones(1)}, tmp_path / "adapter_model.safetensors")
  stems = ("adapter_model", "adapter_model")
  assert set(open_weights(tmp_path, stems)) == {"lora"}


def test_all_that_is_wrong_with_an_index_is_listed(tmp_path):
  one, two = "one.safetensors", "two.safetensors"
  save_file({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / one)
  save_file({"b": torch.ones(1)}, tmp_path / two)
  save_file({"secret": torch.ones(1)}, tmp_path.parent / "out.safetensors")
  weight_map = {
    "a": one,
    "b": two,
    "gone": two,
    "far": "not_there.safetensors",
    "up": "../out.safetensors",
    "root": str(tmp_path.parent / "out.safetensors"),
    "number": 3,
  }
  index = tmp_path / "model.safetensors.index.json"
  index.write_text(json.dumps({"weight_map": weight_map}))
  with pytest.raises(ConversionError) as e:
    open_weights(tmp_path)
  rows = [line.split("  ") for line in str(e.value).splitlines()[1:]]
  rows = [[cell.strip() for cell in row if cell.strip()] for row in rows]
  assert rows == [
    ["missing file", "3"],
    ["missing file", "not_there.safetensors"],
    ["missing tensor", "gone", f"not in {two}"],
    ["no plain file name", "../out.safetensors"],
    ["no plain file name", str(tmp_path.parent / "out.safetensors")],
    ["twice", "b", f"in {one} and {two}"],
  ]


@pytest.mark.parametrize(
  ("content", "says"),
  [
    ("", "is not JSON"),
    ("{", "is not JSON"),
    ("[" * 100_000, "is not JSON"),
    ("[]", "holds no JSON object"),
    ('{"a": {"b": 1, "b": 2}}', "has twice: b"),
    ("{}", "has no weight_map"),
    ('{"weight_map": []}', "has no weight_map"),
    ('{"weight_map": {"a": ["b"]}}', "missing file"),
    ("9" * 5000, "is not JSON to read: Exceeds the limit"),
    (" " * (17 << 20), "over 16 MB"),
  ],
)
def test_broken_index(tmp_path, content, says):
  (tmp_path / "model.safetensors.index.json").write_text(content)
  with pytest.raises(ConversionError, match=says) as e:
    open_weights(tmp_path)
  assert "model.safetensors.index.json" in str(e.value)


def test_json_that_is_no_text(tmp_path):
  (tmp_path / "a.json").write_bytes(b"\xff\xfe{}")
  with pytest.raises(ConversionError, match=r"a\.json: is not JSON"):
    read_json(tmp_path / "a.json")
  with pytest.raises(ConversionError, match=r"b\.json: cannot be read"):
    read_json(tmp_path / "b.json")


@pytest.mark.parametrize(
  ("tensor", "says"),
  [
    (torch.zeros(1).expand(1 << 30, 1 << 20), "repeats the same numbers"),
    (torch.zeros(3, device="meta"), "on the device meta"),
    (torch.zeros(3, dtype=torch.complex64).conj().imag, "changed sign"),
  ],
)
def test_a_small_file_of_a_huge_or_odd_tensor(tmp_path, tensor, says):
  torch.save({"a": torch.ones(2), "b": tensor}, tmp_path / "a.bin")
  with pytest.raises(ConversionError, match=f"no plain tensor  b  .*{says}"):
    open_torch(tmp_path / "a.bin")


def test_torch_s_own_idea_of_a_name_is_an_error_too(tmp_path):
  path = tmp_path / "a.safetensors"
  path.write_bytes(b"PK\x03\x04")  # torch.load believes the name
  with pytest.raises(ConversionError, match=r"a\.safetensors: damaged"):
    open_weights(path)
