"""Models as answering loads them: rounded, cast, and laid over a mesh."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import golden_data
from configs import base as base_config
from configs.quickstart import DECODER
from ltu_jax import base, sampling
from ltu_jax import config as config_lib
from ltu_jax.bundle import load_model
from ltu_jax.checkpoint import CheckpointError, Checkpoints
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.generate import generate
from ltu_jax.models import quantized
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import PART_TYPES, LtuConfig
from ltu_jax.sharding import ShardingError, make_mesh, shardings
from ltu_jax.train_state import abstract_params, overlay, split_params
from ltu_jax.tree_names import leaves
from ltu_jax.workdir import Workdir
from random_model import published_tensors, random_model

TOKENIZER = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")

MATRICES = [
  f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")
]

MODEL = LtuConfig(
  encoder=EncoderConfig(
    dim=16, depth=2, heads=2, num_frames=64, num_mels=32, dtype="float32"
  ),
  # Inputs of 128 make two groups of int4's 64; sizes that 4 parts divide.
  llama=LlamaConfig(
    vocab=-(-TOKENIZER.vocab_size // 8) * 8,
    dim=128,
    mlp_dim=192,
    layers=2,
    heads=4,
    kv_heads=4,
    dtype="float32",
    param_dtype="float32",
  ),
  lora=LoraConfig(rank=4),
)


def run_config():
  """A run whose first stage trains the decoder and whose second adapters."""
  config = base_config.get_config()
  for name in config.model:
    config.model[name] = config_lib.fields(getattr(MODEL, name))
  first = next(iter(config.stages))
  second = list(config.stages)[1]
  config.stages = {
    first: config.stages[first].to_dict() | {"trainable": DECODER},
    second: config.stages[second].to_dict(),
  }
  return config


@pytest.fixture(scope="module")
def model():
  """What the folders hold: base, first stage, second stage, laid over."""
  start, *others = [random_model(MODEL, seed) for seed in range(3)]
  graphdef, params = nnx.split(start)
  stages = config_lib.stages(run_config())
  for stage, other in zip(stages, others, strict=True):
    part, _ = split_params(nnx.state(other), stage.trainable)
    params = overlay(params, part)
  return nnx.merge(graphdef, params)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, model):
  """The model as a run's folder and as a bundle, as load_model takes them."""
  run = Workdir(tmp_path_factory.mktemp("run"))
  run.record_config(run_config())
  TOKENIZER.save(run.root)
  states = [nnx.state(random_model(MODEL, seed)) for seed in range(3)]
  # A given decoder keeps its vocabulary, which is above the tokenizer's.
  parts = {name: getattr(MODEL, name) for name in PART_TYPES}
  base.save(run.root / "pretrained", states[0], parts, ["random"])
  stages = config_lib.stages(run_config())
  for stage, other in zip(stages, states[1:], strict=True):
    part, _ = split_params(other, stage.trainable)
    state = {
      "trainable": nnx.to_pure_dict(part),
      "opt": {},
      "step": jnp.int32(7),
      "rng": jax.random.key(0),
    }
    with Checkpoints(run.checkpoints(stage)) as saved:
      saved.save(7, state, None)
  bundle = tmp_path_factory.mktemp("bundle") / "b"
  tensors = published_tensors(model)
  write_bundle(bundle, tensors, MODEL, TOKENIZER, stages[-1], {})
  return {"workdir": {"workdir": run.root}, "bundle": {"bundle": bundle}}


@pytest.fixture(scope="module", params=["workdir", "bundle"])
def where(request, folders):
  return folders[request.param]


def mesh_of(**shape):
  return make_mesh(shape, jax.devices()[: math.prod(shape.values())])


def weights(model):
  return leaves(nnx.to_pure_dict(nnx.state(model)))


def expected(model, dtype="", base_dtype=""):
  """The float model's weights, cast and rounded whole."""
  found = weights(model)
  if base_dtype:
    for name in MATRICES:
      path = f"llama/layers/{name}/w"
      found[path], found[f"{path}_scale"] = jax.vmap(
        lambda w: quantized.quantize(w, base_dtype)
      )(found[path])
  for path, array in found.items():
    is_cast = path.startswith("llama/") and not path.endswith(
      ("lora_a", "lora_b", "w_scale")
    )
    if dtype and is_cast and array.dtype == jnp.float32:
      found[path] = array.astype(dtype)
  return found


def assert_same_bits(found, want):
  assert found.keys() == want.keys()
  for path, array in want.items():
    got, array = np.asarray(found[path]), np.asarray(array)
    assert (got.shape, got.dtype) == (array.shape, array.dtype), path
    assert got.tobytes() == array.tobytes(), path


@pytest.mark.parametrize(
  "how",
  [
    {},
    {"base_dtype": "int8"},
    {"base_dtype": "int4"},
    {"dtype": "bfloat16"},
    {"dtype": "bfloat16", "base_dtype": "int8"},
  ],
  ids=lambda how: "-".join(how.values()) or "as_stored",
)
def test_every_bit(where, model, how):
  """Rounding is from the stored floats, whatever is cast beside it."""
  found = load_model(**where, **how)
  assert_same_bits(weights(found.model), expected(model, **how))
  assert found.model.cfg == MODEL.for_answering(
    how.get("dtype", ""), how.get("base_dtype", "")
  )
  device = {jax.local_devices()[0]}
  assert all(x.devices() == device for x in weights(found.model).values())


@pytest.mark.parametrize("base_dtype", ["int8", "int4"])
def test_every_bit_and_layout_on_a_mesh(where, model, base_dtype):
  mesh = mesh_of(data=2, fsdp=2, tensor=2)
  how = {"dtype": "bfloat16", "base_dtype": base_dtype}
  found = load_model(**where, mesh=mesh, **how).model
  assert_same_bits(weights(found), expected(model, **how))
  target = shardings(abstract_params(found.cfg, mesh))
  wanted = leaves(nnx.to_pure_dict(target))
  for path, array in weights(found).items():
    assert array.sharding.is_equivalent_to(wanted[path], array.ndim), path
  # A device holds a quarter of a matrix: neither axis is whole.
  shard = found.llama.layers.gate_proj.w[...].addressable_shards[0]
  assert shard.data.shape == (2, 64, 96)


def test_float32_computes_in_it_and_keeps_what_is_stored(tmp_path, model):
  llama = dataclasses.replace(
    MODEL.llama, dtype="bfloat16", param_dtype="bfloat16"
  )
  encoder = dataclasses.replace(MODEL.encoder, dtype="bfloat16")
  half = random_model(dataclasses.replace(MODEL, llama=llama, encoder=encoder))
  tensors = published_tensors(half)
  write_bundle(tmp_path / "b", tensors, half.cfg, TOKENIZER, None, {})
  found = load_model(bundle=tmp_path / "b", dtype="float32").model
  assert_same_bits(weights(found), weights(half))
  assert found.cfg.llama.dtype == found.cfg.encoder.dtype == "float32"
  assert found.llama.embed(jnp.zeros((1, 1), jnp.int32)).dtype == jnp.float32
  assert found.cfg.llama.param_dtype == "bfloat16"


GREEDY = sampling.SamplingConfig(temperature=0.0, max_new_tokens=12)


def answers(model):
  """Greedy answers to two clips and to a question without one."""
  rng = np.random.default_rng(0)
  encoder = model.cfg.encoder
  shape = (3, encoder.num_frames, encoder.num_mels)
  return generate(
    model,
    [[1, 5, 9, 20], [1, 30], [1, 7, 7]],
    fbank=rng.normal(size=shape).astype(np.float32),
    has_audio=np.array([True, True, False]),
    config=GREEDY,
    eos_id=-1,
  )


@pytest.fixture(scope="module")
def on_one_device(folders):
  """base_dtype -> answers of the bundle's model on the first device."""
  return {
    base_dtype: answers(
      load_model(**folders["bundle"], base_dtype=base_dtype).model
    )
    for base_dtype in ("", "int8")
  }


MESHES = {
  2: {"tensor": 2},
  4: {"fsdp": 2, "tensor": 2},
  8: {"data": 2, "fsdp": 2, "tensor": 2},
}


# A program each, of some seconds. A run's folder: the same bits, above.
@pytest.mark.parametrize(
  "num, base_dtype",
  [
    (8, "int8"),
    (8, ""),
    pytest.param(2, "int8", marks=pytest.mark.slow),
    pytest.param(4, "int8", marks=pytest.mark.slow),
    pytest.param(2, "", marks=pytest.mark.slow),
    pytest.param(4, "", marks=pytest.mark.slow),
  ],
)
def test_same_tokens_on_a_mesh(folders, on_one_device, num, base_dtype):
  mesh = mesh_of(**MESHES[num])
  found = load_model(**folders["bundle"], mesh=mesh, base_dtype=base_dtype)
  with jax.set_mesh(mesh):
    got = answers(found.model)
  assert got == on_one_device[base_dtype]
  assert [len(answer) for answer in got] == [12, 12, 12]
  assert len({token for answer in got for token in answer}) > 3


def test_names_that_there_are_not(where, tmp_path):
  with pytest.raises(ValueError) as error:
    load_model(**where, dtype="float16")
  text = str(error.value)
  assert text == "dtype 'float16': '' or one of ['bfloat16', 'float32']"
  with pytest.raises(ValueError) as error:
    load_model(**where, base_dtype="int2")
  text = str(error.value)
  assert text == "base_dtype 'int2': '' or one of ['int4', 'int8']"
  with pytest.raises(CheckpointError, match="no run was started") as error:
    load_model(tmp_path / "absent", base_dtype="int8")
  with pytest.raises(CheckpointError, match="there is no bundle") as error:
    load_model(bundle=tmp_path / "absent", dtype="bfloat16")
  assert "\n" not in str(error.value)


def test_a_mesh_that_cannot_divide_the_model(where):
  with pytest.raises(ShardingError, match="8 parts of mesh axis tensor"):
    load_model(**where, mesh=mesh_of(tensor=8))
