"""Loads the golden data into our model: what every golden test starts from."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ltu_jax.convert.from_torch import import_state_dict
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LTU, LtuConfig, abstract
from ltu_jax.sharding import from_local_rows, micro_batch_sharding

GOLDEN = pathlib.Path(__file__).parent / "golden"


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
  with np.load(GOLDEN / f"{name}.npz") as z:
    return {key: z[key] for key in z.files}


def meta(name: str) -> dict:
  return json.loads(str(load(name)["meta"]))


def params(name: str, kind: str = "param") -> dict[str, np.ndarray]:
  return {
    key.removeprefix(f"{kind}/"): value
    for key, value in load(name).items()
    if key.startswith(f"{kind}/")
  }


def config(name: str) -> LtuConfig:
  """The golden model's sizes, all in float32."""
  m = meta(name)
  return LtuConfig(
    encoder=EncoderConfig(
      dim=m["enc_dim"],
      depth=m["enc_depth"],
      heads=m["enc_heads"],
      dtype="float32",
    ),
    llama=LlamaConfig(
      vocab=m["vocab"],
      dim=m["hidden"],
      mlp_dim=m["inter"],
      layers=m["layers"],
      heads=m["heads"],
      kv_heads=m["heads"],
      dtype="float32",
      param_dtype="float32",
    ),
    lora=LoraConfig(rank=m["lora_r"], alpha=m["lora_alpha"]),
  )


def model(name: str, cfg: LtuConfig | None = None) -> LTU:
  """LTU with the golden weights."""
  cfg = cfg or config(name)
  graphdef, state = abstract(cfg)
  state = import_state_dict(state, cfg, params(name))
  return nnx.merge(graphdef, jax.tree.map(jnp.asarray, state))


def text_batch(
  input_ids: np.ndarray, attention_mask: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
  """The published left-padded layout as our batch, padding counted.

  Positions are 32, 33, ... whatever is padding; a label is a target, except in
  column 0, which only the last audio position could predict.
  """
  text = input_ids.shape[1]
  weights = (labels != -100).astype(np.float32)
  weights[:, 0] = 0
  return {
    "tokens": input_ids.astype(np.int32),
    "positions": np.tile(
      np.arange(32, 32 + text, dtype=np.int32), (len(input_ids), 1)
    ),
    "segment_ids": (attention_mask[:, -text:] > 0).astype(np.int32),
    "loss_weights": weights,
  }


def batch(name: str) -> dict[str, np.ndarray]:
  data = load(name)
  text = text_batch(
    data["input/input_ids"], data["input/attention_mask"], data["input/labels"]
  )
  rows = len(text["tokens"])
  return text | {
    "fbank": data["input/audio_input"],
    "has_audio": np.ones(rows, bool),
  }


def on_mesh(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Cuts [A, B, ...] over the mesh as the training loop does.

  Rows of padding, which change nothing, are added where B does not divide.
  """
  cut = micro_batch_sharding(mesh)
  extra = -batch["tokens"].shape[1] % (mesh.shape["data"] * mesh.shape["fsdp"])
  out = {}
  for key, value in batch.items():
    more = [(0, 0), (0, extra)] + [(0, 0)] * (value.ndim - 2)
    padded = np.pad(value, more)
    out[key] = from_local_rows(cut, padded, padded.shape[1])
  return out


def with_encoder(cfg: LtuConfig, **changes) -> LtuConfig:
  return dataclasses.replace(
    cfg, encoder=dataclasses.replace(cfg.encoder, **changes)
  )
