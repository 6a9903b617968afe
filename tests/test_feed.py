"""Rows reach the devices in their order, cut over data and fsdp."""

import numpy as np

from ltu_jax.feed import Feed
from ltu_jax.sharding import make_mesh


def test_rows_keep_their_order():
  feed = Feed(make_mesh({"data": 2, "fsdp": 2, "tensor": 2}), 16, 2)
  np.testing.assert_array_equal(feed.places, np.arange(16))
  x = np.arange(32).reshape(16, 2)
  got = feed({"x": x})["x"]
  np.testing.assert_array_equal(got, x.reshape(2, 8, 2))
  # Two of the eight rows of each micro-batch on a device.
  assert {s.data.shape for s in got.addressable_shards} == {(2, 2, 2)}
