"""Compiled programs in a bucket: a real server, JAX's own client."""

import json
import os
import subprocess
import sys

from bucket_server import BUCKET, Bucket

PROGRAM = """
import json, sys
from ltu_jax import compile_cache
said = [compile_cache.enable(folder) for folder in sys.argv[1:]]
import jax
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
# All of them, however small: what is tested is the way to the bucket and back.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
found = jax.jit(lambda x: x * 3 + 1)(2.0)
hits = events.count("/jax/compilation_cache/cache_hits")
misses = events.count("/jax/compilation_cache/cache_misses")
print(json.dumps([said, hits, misses, float(found)]))
"""


def run(server, *folders):
  outer = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, *folders],
    env=outer | server.environment | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert "Error" not in done.stderr, done.stderr[-3000:]
  return json.loads(done.stdout)


def test_the_second_process_finds_what_the_first_compiled():
  server = Bucket()
  try:
    folder = f"gs://{BUCKET}/runs/compiled"
    [said], hits, misses, found = run(server, folder)
    assert (said, hits, found) == ("", 0, 7.0) and misses > 0
    (wrong, said), *found = run(server, "gs://not-there/compiled", folder)
    assert [said, *found] == ["", misses, 0, 7.0]
    assert "gs://not-there/compiled: compiled programs cannot be kept" in wrong
  finally:
    server.close()
