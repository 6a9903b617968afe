"""GGUF files that gguf writes, as decoders: against transformers."""

import re

import gguf
import numpy as np
import pytest
import transformers
from gguf import GGMLQuantizationType as Kind

from ltu_jax.convert.gguf import read_gguf, to_halves
from ltu_jax.convert.tensors import ConversionError
from ltu_jax.models.llama import LlamaConfig
from tiny_gguf import VOCAB, write


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
