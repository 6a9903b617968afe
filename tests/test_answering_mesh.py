"""A mesh from the text of a command line; mistakes are one clear line."""

import math

import jax
import pytest

from ltu_jax.answering_mesh import answering_mesh
from ltu_jax.sharding import MESH_AXES, ShardingError, make_mesh


@pytest.mark.parametrize(
  "text, shape",
  [
    ("", (1, 1, 1)),
    ("tensor=2,fsdp=4", (1, 4, 2)),
    ("tensor=2, data=-1", (4, 1, 2)),
    ("data=8", (8, 1, 1)),
  ],
)
def test_mesh_of_a_text(text, shape):
  mesh = answering_mesh(text)
  assert mesh == make_mesh(
    dict(zip(MESH_AXES, shape, strict=True)), jax.devices()[: math.prod(shape)]
  )


@pytest.mark.parametrize(
  "text, words",
  [
    ("heads=8", "'heads=8' is not one of the axes data, fsdp, tensor"),
    ("tensor=2,tensor=4", "'tensor=4' is not one of the axes"),
    ("tensor2", "such as tensor=2,fsdp=4"),
    ("tensor=0", "'tensor=0' is not one"),
    ("tensor=2,", "'' is not one"),
    ("tensor=2", "is of 2 devices, but there are 8 here"),
    ("tensor=3,data=-1", "the 8 devices here do not divide by 3"),
    ("fsdp=-1,data=-1", "only one size may be -1"),
  ],
)
def test_mesh_of_a_wrong_text(text, words):
  with pytest.raises(ShardingError) as error:
    answering_mesh(text)
  message = str(error.value)
  assert message.startswith(f"mesh {text!r}") and words in message
  assert "\n" not in message
