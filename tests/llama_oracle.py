"""LLaMA of transformers beside ours: random weights, logits and how near."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from flax import nnx

from ltu_jax.convert.names import expected, to_ours
from ltu_jax.convert.tensors import Tensor
from ltu_jax.models.llama import Llama, LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig
from ltu_jax.sharding import path_name

SIZES = {
  "vocab_size": 50,
  "hidden_size": 32,
  "intermediate_size": 48,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
}


def tokens() -> np.ndarray:
  return np.random.default_rng(0).integers(0, SIZES["vocab_size"], (2, 9))


def random_llama(seed: int = 0, **sizes) -> transformers.LlamaForCausalLM:
  """Every weight drawn anew: as made, norms are ones."""
  config = transformers.LlamaConfig(**SIZES | sizes)
  model = transformers.LlamaForCausalLM(config).eval()
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for weight in model.parameters():
      weight.normal_(0, 0.2, generator=generator)
  return model


def their_logits(model: torch.nn.Module) -> tuple[np.ndarray, float]:
  """Logits in float32, and ten times their distance from float64's."""
  ids = torch.from_numpy(tokens())
  with torch.no_grad():
    single = model.float()(ids).logits.numpy()
    double = model.double()(ids).logits.numpy()
  model.float()
  return single, 10 * float(np.abs(single - double).max())


def our_logits(
  cfg: LlamaConfig, tensors: dict[str, Tensor], lora: LoraConfig | None = None
) -> np.ndarray:
  """Logits in float32 of our decoder with these weights."""
  single = {"dtype": "float32", "param_dtype": "float32"}
  cfg = dataclasses.replace(cfg, **single, remat="none")
  make = lambda: Llama(cfg, lora, rngs=nnx.Rngs(0))
  with nnx.use_eager_sharding(False):
    graphdef, state = nnx.split(jax.eval_shape(make))
  whole = LtuConfig(llama=cfg, lora=lora or LoraConfig(rank=0))
  names = {}
  for path, layer, name in expected(whole, ["llama", "lora"]):
    names.setdefault(path, []).append((layer, name))
  flat = []
  for path, variable in nnx.to_flat_state(state):
    ours, shape = f"llama/{path_name(path)}", variable.get_value().shape
    stacked = names[ours][0][0] is not None
    arrays = [
      to_ours(ours, tensors[name].read(), shape[1:] if stacked else shape)
      for _, name in names[ours]
    ]
    array = np.stack(arrays) if stacked else arrays[0]
    flat.append((path, variable.replace(jnp.asarray(array, jnp.float32))))
  model = nnx.merge(graphdef, nnx.from_flat_state(flat))
  rows, steps = tokens().shape
  positions = np.tile(np.arange(steps), (rows, 1))
  mask = np.tile(np.tril(np.ones((steps, steps), bool)), (rows, 1, 1))
  hidden, _ = model(model.embed(tokens()), positions, mask)
  return np.asarray(model.logits(hidden))
