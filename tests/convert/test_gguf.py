"""GGUF files that gguf writes, against gguf's reader and transformers."""

import json
import pathlib
import re
import sys
import tracemalloc

import gguf
import numpy as np
import pytest
import transformers
from gguf import GGMLQuantizationType as Kind
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from ltu_jax.convert import gguf_file
from ltu_jax.convert.gguf import read_gguf, to_halves
from ltu_jax.convert.gguf_tokenizer import read_tokenizer
from ltu_jax.convert.tensors import ConversionError
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.models.llama import LlamaConfig
from tiny_bpe import SPECIAL, tiny_bpe

SPM = pathlib.Path(__file__).parents[1] / "golden" / "tiny_spm.model"

SIZES = {
  "embedding_length": 64,
  "block_count": 2,
  "feed_forward_length": 96,
  "attention.head_count": 4,
  "attention.head_count_kv": 2,
}
NUMBERS = {
  "rope.freq_base": 5e4,
  "attention.layer_norm_rms_epsilon": 1e-5,
}
VOCAB = 300


def shapes(tied: bool) -> dict[str, tuple[int, ...]]:
  """Every tensor of a model of SIZES."""
  found = {"token_embd": (VOCAB, 64), "output_norm": (64,)}
  if not tied:
    found["output"] = (VOCAB, 64)
  for i in range(2):
    found |= {
      f"blk.{i}.attn_norm": (64,),
      f"blk.{i}.ffn_norm": (64,),
      f"blk.{i}.attn_q": (64, 64),
      f"blk.{i}.attn_k": (32, 64),
      f"blk.{i}.attn_v": (32, 64),
      f"blk.{i}.attn_output": (64, 64),
      f"blk.{i}.ffn_gate": (96, 64),
      f"blk.{i}.ffn_up": (96, 64),
      f"blk.{i}.ffn_down": (64, 96),
    }
  return {f"{name}.weight": shape for name, shape in found.items()}


def bpe_tokenizer(writer: gguf.GGUFWriter) -> None:
  """The metadata of tiny_bpe()."""
  tokenizer = tiny_bpe(VOCAB)
  vocab = tokenizer.get_vocab()
  merges = json.loads(tokenizer.to_str())["model"]["merges"]
  writer.add_tokenizer_model("gpt2")
  writer.add_tokenizer_pre("smollm")
  writer.add_token_list(sorted(vocab, key=vocab.get))
  writer.add_token_types([3] * 3 + [1] * (VOCAB - 3))
  writer.add_token_merges([" ".join(m) for m in merges])
  writer.add_bos_token_id(1)
  writer.add_eos_token_id(2)
  writer.add_pad_token_id(2)


def spm_tokenizer(writer: gguf.GGUFWriter) -> None:
  """The metadata of tiny_spm.model."""
  model = sentencepiece_model_pb2.ModelProto.FromString(SPM.read_bytes())
  writer.add_tokenizer_model("llama")
  writer.add_token_list([p.piece for p in model.pieces])
  writer.add_token_scores([p.score for p in model.pieces])
  writer.add_token_types([p.type for p in model.pieces])
  writer.add_bos_token_id(1)
  writer.add_eos_token_id(2)


def write(
  folder: pathlib.Path,
  kind: Kind = Kind.Q8_0,
  tied: bool = True,
  tokenizer=bpe_tokenizer,
  arch: str = "llama",
  drop: tuple[str, ...] = (),
  endian: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE,
  **metadata,
) -> pathlib.Path:
  """Writes a random model; matrices are of `kind`.

  Keys of `drop` are left out, those of `metadata` ("__" for ".") are added.
  """
  path = folder / "tiny.gguf"
  writer = gguf.GGUFWriter(path, arch, endianess=endian)
  writer.add_name("tiny")
  for key, value in (SIZES | NUMBERS).items():
    if key in drop:
      continue
    add = writer.add_uint32 if key in SIZES else writer.add_float32
    add(f"{arch}.{key}", value)
  for key, value in metadata.items():
    gguf_type = gguf.GGUFValueType.get_type(value)
    writer.add_key_value(key.replace("__", "."), value, gguf_type)
  if tokenizer:
    tokenizer(writer)
  rng = np.random.default_rng(0)
  for name, shape in shapes(tied).items():
    array = rng.normal(size=shape).astype(np.float32)
    if len(shape) == 1 or kind == Kind.F32:
      writer.add_tensor(name, array)
    else:
      data = gguf.quants.quantize(array, kind)
      writer.add_tensor(name, data, raw_dtype=kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
  "kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_1, Kind.Q5_0]
)
def test_weights_are_those_that_transformers_reads(tmp_path, kind, tied):
  path = write(tmp_path, kind, tied)
  model = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, gguf_file=path.name, dtype="float32"
  )
  theirs = model.state_dict()
  if tied:
    assert model.config.tie_word_embeddings
    del theirs["lm_head.weight"]
  source = read_gguf(path)
  assert source.tensors.keys() == theirs.keys()
  for name, tensor in source.tensors.items():
    array = tensor.read()
    assert array.dtype == tensor.dtype == np.float32
    assert array.shape == tensor.shape
    np.testing.assert_array_equal(array, theirs[name].numpy(), err_msg=name)


def test_sizes_are_those_of_the_metadata(tmp_path):
  source = read_gguf(write(tmp_path, tied=False))
  assert source.parts == {
    "llama": LlamaConfig(
      vocab=VOCAB,
      dim=64,
      mlp_dim=96,
      layers=2,
      heads=4,
      kv_heads=2,
      rope_base=5e4,
      norm_eps=1e-5,
      tied=False,
    )
  }
  assert "5 F32, 16 Q8_0" in source.notes[0]


def test_what_the_metadata_may_leave_out(tmp_path):
  # llama.cpp's defaults: as many key/value heads as heads, base 10,000.
  drop = ("attention.head_count_kv", "rope.freq_base")
  config = read_gguf(write(tmp_path, drop=drop)).parts["llama"]
  assert (config.kv_heads, config.rope_base) == (4, 10000.0)


def test_heads_may_be_wider_than_the_model_gives(tmp_path):
  path = write(
    tmp_path,
    llama__attention__key_length=32,
    llama__attention__value_length=32,
    llama__rope__dimension_count=32,
  )
  assert read_gguf(path).parts["llama"].head_dim == 32


def test_harmless_and_neutral_metadata_is_taken(tmp_path):
  path = write(
    tmp_path,
    llama__context_length=8192,
    llama__vocab_size=VOCAB,
    llama__expert_count=0,
    llama__rope__scaling__type="none",
  )
  assert read_gguf(path).parts["llama"].vocab == VOCAB


def test_all_that_ours_has_not_is_listed_at_once(tmp_path):
  path = write(
    tmp_path,
    drop=("block_count", "attention.layer_norm_rms_epsilon"),
    llama__expert_count=8,
    llama__rope__dimension_count=8,
    llama__rope__scaling__type="yarn",
    llama__rope__scaling__factor=4.0,
    llama__attention__sliding_window=4096,
    llama__feed_forward_lengths=[1, 2],
    split__count=3,
  )
  with pytest.raises(ConversionError) as e:
    read_gguf(path)
  message = str(e.value)
  assert message.startswith(f"{path}: cannot be read as a LLaMA decoder\n")
  rows = [re.split(" {2,}", line.strip()) for line in message.split("\n")[1:]]
  assert [row[:2] for row in rows] == [
    ["missing", "llama.attention.layer_norm_rms_epsilon"],
    ["missing", "llama.block_count"],
    ["unsupported", "llama.attention.sliding_window"],
    ["unsupported", "llama.expert_count"],
    ["unsupported", "llama.feed_forward_lengths"],
    ["unsupported", "llama.rope.dimension_count"],
    ["unsupported", "llama.rope.scaling.factor"],
    ["unsupported", "llama.rope.scaling.type"],
    ["unsupported", "split.count"],
  ]
  assert rows[-2][2] == "'yarn'"
  assert rows[5][2] == "8; heads are 16 wide"


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"arch": "qwen2"}, "architecture is 'qwen2'; only llama is read"),
    ({"endian": gguf.GGUFEndian.BIG}, "version 50331648; only 2 and 3"),
    (
      {"drop": ("attention.head_count",), "llama__attention__head_count": [4]},
      r"unsupported  llama.attention.head_count  \[4\]; it must be one number",
    ),
    (
      {"drop": ("attention.head_count",), "llama__attention__head_count": 5},
      "inconsistent .* no multiple",
    ),
    ({"general__alignment": 0}, "general.alignment is 0"),
  ],
)
def test_what_cannot_be_read_is_one_clear_error(tmp_path, changes, reason):
  path = write(tmp_path, **changes)
  with pytest.raises(ConversionError, match=f"(?s)tiny.gguf: .*{reason}"):
    read_gguf(path)


def test_tensors_of_other_names_are_passed_on(tmp_path):
  path = write(tmp_path)
  data = path.read_bytes()
  # Names of equal length, so that nothing else of the file moves.
  for old, new in (
    (b"blk.1.attn_output.weight", b"blk.1.attn_outpuX.weight"),
    (b"output_norm.weight", b"rope_freqss.weight"),
    (b"blk.0.attn_v.weight", b"blk.0.attn_v.biasss"),
  ):
    assert data.count(old) == 1
    data = data.replace(old, new)
  path.write_bytes(data)
  names = read_gguf(path).tensors.keys()
  others = {name for name in names if not name.startswith("model.")}
  assert others == {
    "blk.1.attn_outpuX.weight",
    "rope_freqss.weight",
    "blk.0.attn_v.biasss",
  }


def test_rows_are_put_in_halves():
  """Rows 2i and 2i + 1 of a head become rows i and i + H / 2."""
  weight = np.arange(2 * 6)[:, None] * np.ones((1, 3))
  got = to_halves(weight, 2)[:, 0].tolist()
  assert got == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]


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
  with pytest.raises(ConversionError, match=r"install -e '\.\[convert\]'"):
    read_gguf(tmp_path / "x.gguf")


def test_the_bpe_tokenizer_is_the_files(tmp_path):
  source = read_gguf(write(tmp_path, tokenizer__chat_template="{{ x }}"))
  got, want = source.tokenizer, tiny_bpe(VOCAB)
  assert (got.bos_id, got.eos_id, got.pad_id) == (1, 2, 2)
  assert got.vocab_size == VOCAB
  assert got.config["chat_template"] == "{{ x }}"
  for text in ("A dog barks.", "at 12.5s\n\n  1. café ♫ 日本", "it isn't"):
    ids = want.encode(text).ids
    assert got.encode(text, bos=False) == ids
    assert got.decode([1, *ids, 2]) == text
  text = "stop <|im_end|>"
  assert not {0, 1, 2} & set(got.encode(text, bos=False))
  assert "byte-level BPE (smollm) of 300 ids" in source.notes[1]


def test_the_sentencepiece_tokenizer_is_the_files(tmp_path):
  want = SentencePieceTokenizer(SPM)
  # An embedding of fewer rows than the tokenizer has ids.
  with pytest.raises(ConversionError, match=r"has \d+ ids and its embedding"):
    read_gguf(write(tmp_path, tokenizer=spm_tokenizer))
  file = gguf_file.open_gguf(tmp_path / "tiny.gguf")
  got, note = read_tokenizer(file)
  assert "SentencePiece BPE" in note
  for text in (
    "A dog barks.",
    "at 12.5s\n\n  1. café ♫ 日本",
    " x ",
    "",
    "</s>",
  ):
    assert got.encode(text) == want.encode(text)
    assert got.decode(got.encode(text)) == want.decode(want.encode(text))


@pytest.mark.parametrize(
  ("metadata", "reason"),
  [
    ({}, "there is none"),
    ({"tokenizer__ggml__model": "bert"}, "it is of kind 'bert'"),
    (
      {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__pre": "llama-bpe"},
      r"it splits words as 'llama-bpe', and only \['smollm'\] is known",
    ),
  ],
)
def test_other_tokenizers_are_left_out_with_a_note(tmp_path, metadata, reason):
  source = read_gguf(write(tmp_path, tokenizer=None, **metadata))
  assert source.tokenizer is None
  assert re.search(
    f"tiny.gguf: its tokenizer is not read: {reason}", source.notes[1]
  )


def test_a_broken_tokenizer_is_an_error(tmp_path):
  def tokenizer(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b"])
    writer.add_token_types([1])

  with pytest.raises(ConversionError) as e:
    read_gguf(write(tmp_path, tokenizer=tokenizer))
  assert "inconsistent  tokenizer.ggml.token_type  1 values for 2" in str(
    e.value
  )
  assert "missing       tokenizer.ggml.merges" in str(e.value)

  def tokenizer(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*SPECIAL, "a", "b", "a"])
    writer.add_token_types([3, 3, 3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(6)

  with pytest.raises(ConversionError) as e:
    read_gguf(write(tmp_path, tokenizer=tokenizer))
  assert "tokenizer.ggml.merges        'a b' is no merge" in str(e.value)
  assert "tokenizer.ggml.eos_token_id  6 of 6 tokens" in str(e.value)
  assert "tokenizer.ggml.tokens        tokens are there twice" in str(e.value)
