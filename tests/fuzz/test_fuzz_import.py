"""Any file is imported, or refused in a few lines: nothing of it is run."""

import io
import json
import os
import pathlib
import pickle
import tempfile
import zipfile

import pytest
import torch
from hypothesis import strategies as st

import import_seeds
from fuzz_cases import fuzzed
from fuzz_data import PATHS, damaged, hostile_json
from ltu_jax.convert import __main__ as convert
from ltu_jax.convert.files import open_weights
from ltu_jax.convert.gguf import read_gguf
from ltu_jax.convert.tensors import ConversionError

# What an attack would make; of this process, so that runs do not meet.
_MADE = pathlib.Path(tempfile.gettempdir(), f"ltu-fuzz-made-{os.getpid()}")


class _Evil:
  """Runs a program, or a function of Python, when it is unpickled."""

  def __init__(self, function, *args):
    self.call = function, args

  def __reduce__(self):
    return self.call


_ATTACKS = (
  _Evil(os.system, f"touch {_MADE}"),
  _Evil(eval, f"open('{_MADE}', 'w')"),
  _Evil(exec, f"import os; os.mkdir('{_MADE}')"),
  _Evil(pathlib.Path.touch, _MADE),
  _Evil(__import__, "antigravity"),
  _Evil(torch.load, "/etc/passwd"),
)


def _pickles() -> list[bytes]:
  """Torch files in both formats and plain pickles that attack."""
  found = []
  for attack in _ATTACKS:
    state = {"model.norm.weight": torch.ones(8), "x": attack}
    for is_zip in (True, False):
      file = io.BytesIO()
      torch.save(state, file, _use_new_zipfile_serialization=is_zip)
      found.append(file.getvalue())
    found += [pickle.dumps(state, protocol) for protocol in (2, 4)]
  return found


def _bombs() -> list[bytes]:
  """Torch files of few bytes and huge tensors."""
  whole = torch.load(io.BytesIO(FOLDERS["ltu"][1]["pytorch_model.bin"]))
  one = torch.zeros(1)
  found = []
  for tensor in (
    one.expand(1 << 30, 1 << 20),
    torch.zeros(1 << 20, device="meta"),
    torch.sparse_coo_tensor([[0]], [1.0], (1 << 40,), check_invariants=True),
  ):
    for name in (
      "layers.0.self_attn.rotary_emb.inv_freq",
      "audio_encoder.blocks_a.0.norm1_v.weight",
      "embed_tokens.weight",
      "audio_proj.1.bias",
    ):
      file = io.BytesIO()
      torch.save(whole | {f"base_model.model.model.{name}": tensor}, file)
      found.append(file.getvalue())
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("../../evil/data.pkl", bytes(50 << 20))
    archive.writestr("archive/data.pkl", bytes(50 << 20))
  return [*found, file.getvalue()]


# Orbax's threads reserve some GB of address space, which they do not use.
_MEMORY = 8 << 30

FOLDERS = import_seeds.folders()
PICKLES = _pickles() + _bombs()
INDEX = "model.safetensors.index.json"


@st.composite
def _header(draw, data: bytes) -> bytes:
  """A safetensors file with an attack on its header."""
  end = 8 + int.from_bytes(data[:8], "little")
  header = draw(hostile_json([json.loads(data[8:end])]))
  return len(header).to_bytes(8, "little") + header + data[end:]


@st.composite
def _hostile(draw) -> tuple[str, str, bytes]:
  """(Folder, file, what is in the file)."""
  name = draw(st.sampled_from(sorted(FOLDERS)))
  files = FOLDERS[name][1]
  file = draw(st.sampled_from(sorted(files)))
  data = files[file]
  if file.endswith(".json"):
    return name, file, draw(hostile_json([json.loads(data)]))
  if file.endswith(".safetensors") and draw(st.booleans()):
    return name, file, draw(_header(data))
  if file.endswith(".bin") and draw(st.booleans()):
    return name, file, draw(damaged(PICKLES))
  return name, file, draw(damaged([data]))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@fuzzed("import of checkpoints", memory=_MEMORY, hostile=_hostile())
def test_imported_or_refused(case, hostile):
  name, file, data = hostile
  option, files = FOLDERS[name]
  _write(case.folder / "in", files | {file: data})
  argv = ["import", f"--out={case.folder}/out", f"--{option}={case.folder}/in"]
  if option in ("ltu", "peft"):
    _write(case.folder / "good", FOLDERS["hf"][1])
    argv.append(f"--llama={case.folder}/good")
  _run(case, argv)


_WEIGHTS = [
  (name, file, data)
  for name, (_, files) in FOLDERS.items()
  for file, data in files.items()
  if not file.startswith(("tokenizer", "config", "adapter_config", "prepro"))
]


@st.composite
def _weights(draw) -> tuple[str, bytes]:
  """(File, what is in it)."""
  if draw(st.integers(0, 2)) == 0:
    return "pytorch_model.bin", draw(damaged(PICKLES))
  _, file, data = draw(st.sampled_from(_WEIGHTS))
  if file.endswith(".safetensors") and draw(st.booleans()):
    return file, draw(_header(data))
  return file, draw(damaged([data]))


@fuzzed("files of weights", weights=_weights())
def test_weights_are_read_or_refused(case, weights):
  name, data = weights
  path = case.folder / name
  path.write_bytes(data)
  with case.refuses(ConversionError, naming=path):
    if name.endswith(".gguf"):
      tensors = read_gguf(path).tensors
    else:
      tensors = open_weights(path)
    # Together they may be more: of torch's several may be views of one.
    for tensor in tensors.values():
      array = tensor.read()
      assert array.shape == tensor.shape
      assert array.dtype == tensor.dtype
      assert array.nbytes <= 8 * len(data)
  assert not _MADE.exists()


@st.composite
def _tokenizer(draw) -> tuple[str, str, bytes]:
  """(Folder, file, what is in the file)."""
  name, file = draw(
    st.sampled_from(
      (
        ("hf", "tokenizer.model"),
        ("bpe", "tokenizer.json"),
        ("bpe", "tokenizer_config.json"),
      )
    )
  )
  good = FOLDERS[name][1][file]
  if file == "tokenizer.model":
    return name, file, draw(damaged([good]))
  return name, file, draw(hostile_json([json.loads(good)]))


@fuzzed("tokenizers", memory=_MEMORY, hostile=_tokenizer())
def test_a_tokenizer_or_refused(case, hostile):
  name, file, data = hostile
  _write(case.folder / "in", FOLDERS[name][1] | {file: data})
  argv = ["import", f"--llama={case.folder}/in", f"--out={case.folder}/out"]
  _run(case, argv)


def _write(folder: pathlib.Path, files: dict[str, bytes]) -> None:
  folder.mkdir()
  for name, data in files.items():
    (folder / name).write_bytes(data)


def _run(case, argv: list[str]) -> None:
  """Runs the command line, which tells documented errors by status 2."""
  status = convert.main(argv)
  assert status in (0, 2)
  if status:
    case.refused()
    assert sorted(p.name for p in case.folder.iterdir()) in (
      ["in"],
      ["good", "in"],
    )
  assert not _MADE.exists()


@fuzzed(
  "indices of shards",
  names=st.dictionaries(
    st.sampled_from(("a", "secret", "b")),
    st.sampled_from((*PATHS, "../secret", "x/../../secret", "sub/secret"))
    | st.integers()
    | st.lists(st.text(), max_size=2)
    | st.text(),
    min_size=1,
  ),
  absolute=st.booleans(),
)
def test_an_index_opens_nothing_outside_its_folder(case, names, absolute):
  secret = FOLDERS["audio"][1]["model.safetensors"]
  (case.folder / "secret").write_bytes(secret)
  folder = case.folder / "in"
  (folder / "sub").mkdir(parents=True)
  (folder / "sub" / "secret").write_bytes(secret)
  if absolute:
    names["c"] = str(case.folder / "secret")
  (folder / INDEX).write_text(json.dumps({"weight_map": names}))
  # An OSError names the file by itself.
  with case.refuses(ConversionError, OSError):
    assert not open_weights(folder)
