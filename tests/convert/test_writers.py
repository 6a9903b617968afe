"""Files that the safetensors library, torch and transformers read back."""

import json
import weakref

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from huggingface_hub.serialization import split_state_dict_into_shards_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from ltu_jax.convert import writers
from ltu_jax.convert.tensors import ConversionError, Tensor, of_array

DTYPES = [
  *(f"int{bits}" for bits in (8, 16, 32, 64)),
  *(f"uint{bits}" for bits in (8, 16, 32, 64)),
  *("bool", "float16", "float32", "float64", ml_dtypes.bfloat16),
]


@st.composite
def arrays(draw):
  """Any bits, NaNs and negative zeros among them."""
  dtype = np.dtype(draw(st.sampled_from(DTYPES)))
  shape = draw(st.lists(st.integers(0, 5), max_size=3))
  rng = np.random.default_rng(draw(st.integers(0, 9)))
  size = int(np.prod(shape, dtype=int))
  if dtype.kind == "b":
    return rng.integers(0, 2, shape).astype(bool)
  return np.frombuffer(rng.bytes(size * dtype.itemsize), dtype).reshape(shape)


NAMED = st.dictionaries(
  st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(
    lambda name: name != "__metadata__"
  ),
  arrays(),
  max_size=6,
)


def tensors_of(named):
  return {name: of_array(array) for name, array in named.items()}


def assert_same(found, named):
  assert found.keys() == named.keys()
  for name, array in named.items():
    assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
    assert found[name].tobytes() == array.tobytes()


def as_numpy(value):
  if value.dtype == torch.bfloat16:
    return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
  return value.numpy()


@given(named=NAMED, text=st.none() | st.text(st.characters(codec="utf-8")))
@settings(max_examples=100, deadline=None)
def test_safetensors_are_the_librarys_bytes(tmp_path_factory, named, text):
  path = tmp_path_factory.mktemp("file") / "x.safetensors"
  metadata = None if text is None else {"text": text}
  writers.write_safetensors(path, tensors_of(named), metadata)
  assert path.read_bytes() == safetensors.numpy.save(named, metadata)
  with safetensors.safe_open(path, framework="np") as file:
    assert file.metadata() == metadata
  assert_same(safetensors.numpy.load_file(path), named)
  found = safetensors.torch.load_file(path)
  assert_same({name: as_numpy(value) for name, value in found.items()}, named)


@given(named=NAMED)
@settings(max_examples=50, deadline=None)
def test_torch_loads_a_dict_of_tensors(tmp_path_factory, named):
  path = tmp_path_factory.mktemp("file") / "x.bin"
  writers.write_torch(path, tensors_of(named))
  found = torch.load(path, weights_only=True)
  assert type(found) is dict and list(found) == list(named)
  assert_same({name: as_numpy(value) for name, value in found.items()}, named)
  assert [p.name for p in path.parent.iterdir()] == ["x.bin"]


@given(
  sizes=st.lists(st.integers(0, 12), min_size=1, max_size=12),
  limit=st.integers(4, 40),
)
@settings(max_examples=100, deadline=None)
def test_shards_are_cut_as_the_hub_cuts_them(tmp_path_factory, sizes, limit):
  folder = tmp_path_factory.mktemp("folder")
  named = {f"w{i}": np.arange(n, dtype="f4") for i, n in enumerate(sizes)}
  writers.write_shards(folder, tensors_of(named), max_bytes=limit)
  split = split_state_dict_into_shards_factory(
    named,
    get_storage_size=lambda array: array.nbytes,
    filename_pattern="model{suffix}.safetensors",
    max_shard_size=limit,
  )
  files = {path.name for path in folder.glob("*.safetensors")}
  assert files == set(split.filename_to_tensors)
  found = {}
  for file, names in split.filename_to_tensors.items():
    with safetensors.safe_open(folder / file, framework="np") as shard:
      assert shard.metadata() == {"format": "pt"}
    part = safetensors.numpy.load_file(folder / file)
    assert part.keys() == set(names)
    found |= part
  assert_same(found, named)
  index = folder / "model.safetensors.index.json"
  assert index.exists() == split.is_sharded
  if split.is_sharded:
    assert json.loads(index.read_text()) == {
      "metadata": split.metadata,
      "weight_map": split.tensor_to_filename,
    }


@pytest.fixture(params=["x.safetensors", "x.bin"])
def write(request, tmp_path):
  """Writes a file of the format; gives its path."""

  def call(tensors):
    name = request.param
    function = (
      writers.write_torch if name == "x.bin" else writers.write_safetensors
    )
    function(tmp_path / "new" / name, tensors)

  call.path = tmp_path / "new" / request.param
  return call


def test_one_tensor_is_held_at_a_time(write):
  held = []

  def read():
    assert all(reference() is None for reference in held)
    array = np.ones(100)
    held.append(weakref.ref(array))
    return array

  names = "abc"
  write({n: Tensor((100,), np.dtype("f8"), read, n) for n in names})
  assert len(held) == 3


def broken(error):
  def read():
    raise error

  return {
    "a": of_array(np.ones(3)),
    "b": Tensor((2,), np.dtype("f4"), read, "broken"),
  }


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt()])
def test_an_interrupted_file_leaves_nothing(write, error):
  with pytest.raises(type(error)):
    write(broken(error))
  assert list(write.path.parent.iterdir()) == []


def test_what_is_there_is_not_written_over(write):
  write.path.parent.mkdir()
  write.path.write_text("mine")
  with pytest.raises(ConversionError, match="exists and is not written over"):
    write({})
  assert write.path.read_text() == "mine"


@pytest.mark.parametrize("array", [np.ones((1, 2), "f4"), np.ones(2)])
def test_a_tensor_that_is_not_what_was_announced(write, array):
  tensor = Tensor((2,), np.dtype("f4"), lambda: array, "FILE: w")
  with pytest.raises(ConversionError, match=r"FILE: w: .*float32\[2\]"):
    write({"w": tensor})
  assert list(write.path.parent.iterdir()) == []


def test_a_dtype_that_safetensors_has_not(tmp_path):
  tensors = {"w": of_array(np.ones(2, "c16"), "FILE: w")}
  with pytest.raises(ConversionError, match=r"FILE: w: .*complex128"):
    writers.write_safetensors(tmp_path / "x.safetensors", tensors)
  assert list(tmp_path.iterdir()) == []


def test_a_folder_is_whole_or_not_there(tmp_path):
  path = tmp_path / "folder"
  (tmp_path / "folder.incomplete").mkdir()
  (tmp_path / "folder.incomplete" / "rest").touch()
  with pytest.raises(KeyboardInterrupt), writers.fresh_folder(path) as work:
    assert list(work.iterdir()) == []
    (work / "a").touch()
    raise KeyboardInterrupt
  assert list(tmp_path.iterdir()) == []
  with writers.fresh_folder(path) as work:
    (work / "a").touch()
    assert not path.exists()
  assert [p.name for p in path.iterdir()] == ["a"]
  with (
    pytest.raises(ConversionError, match="exists and is not written over"),
    writers.fresh_folder(path),
  ):
    pass
