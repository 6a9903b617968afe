"""Damaged folders of runs, bases and bundles: a sentence names the file."""

import dataclasses
import json

from hypothesis import strategies as st

import import_seeds
from configs import quickstart
from fuzz_cases import fuzzed
from fuzz_data import damaged, hostile_json
from ltu_jax import base, losses
from ltu_jax import config as config_lib
from ltu_jax.bundle import load_bundle
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config import ConfigError
from ltu_jax.convert.tensors import ConversionError
from ltu_jax.curriculum import Stage
from ltu_jax.data.openaqa import Unreadable
from ltu_jax.metrics import Metrics
from ltu_jax.metrics_file import MetricsError
from ltu_jax.models.ltu import PART_TYPES
from ltu_jax.unreadable import Skipped, UnreadableError
from ltu_jax.workdir import Workdir

# Loading makes threads that reserve some GB of address space.
_MEMORY = 8 << 30

BUNDLE = import_seeds.bundle()
BUNDLE_CONFIG = json.loads(BUNDLE["config.json"])
BASE = {
  "format": "ltu_jax base",
  "version": 1,
  "parts": {
    name: dataclasses.asdict(getattr(import_seeds.CONFIG, name))
    for name in PART_TYPES
  },
  "origin": ["--llama=x"],
  "content_hash": "0" * 64,
}
RUN = json.loads(quickstart.get_config().to_json())
STAGES = (Stage(1, "one"), Stage(2, "two"))


@fuzzed("base.json", data=hostile_json([BASE]))
def test_base_info(case, data):
  path = case.folder / "base"
  path.mkdir()
  (path / "base.json").write_bytes(data)
  with case.refuses(CheckpointError, naming=path):
    found = base.info(path)
    for name, part in found.parts.items():
      assert type(part) is PART_TYPES[name]
    assert all(isinstance(line, str) for line in found.origin)
    assert isinstance(found.content_hash, str)


@st.composite
def _bundle_file(draw) -> tuple[str, bytes]:
  name = draw(st.sampled_from(sorted(BUNDLE)))
  if name == "config.json" or draw(st.booleans()):
    return "config.json", draw(hostile_json([BUNDLE_CONFIG]))
  return name, draw(damaged([BUNDLE[name]]))


@fuzzed("bundles", memory=_MEMORY, file=_bundle_file())
def test_bundle(case, file):
  folder = case.folder / "bundle"
  folder.mkdir()
  name, data = file
  for other, good in (BUNDLE | {name: data}).items():
    (folder / other).write_bytes(good)
  with case.refuses(CheckpointError, ConversionError, naming=folder):
    load_bundle(folder)


@fuzzed("config.json of a run", data=hostile_json([RUN]))
def test_run_config(case, data):
  (case.folder / "config.json").write_bytes(data)
  for stage in range(5):
    (case.folder / f"checkpoints/stage{stage}/1").mkdir(parents=True)
  workdir = Workdir(case.folder)
  with case.refuses(CheckpointError, ConfigError):
    config = workdir.read_config()
    config_lib.model_config(config)
    config_lib.augment(config)
    for stage in config_lib.stages(config):
      assert workdir.checkpoints(stage).parent == case.folder / "checkpoints"
    config_lib.differences(config, RUN)
    workdir.trained_stages(config)


LINES = [{"stage": 1, "step": step, "loss": 2.5, "lr": None} for step in (1, 2)]


@st.composite
def _lines(draw, lines: list[dict]) -> bytes:
  """Lines of JSON, some of them damaged."""
  found = [json.dumps(line).encode() for line in lines]
  place = draw(st.integers(0, len(found) - 1))
  found[place] = draw(hostile_json([lines[place]]))
  data = b"\n".join(found) + draw(st.sampled_from((b"\n", b"")))
  return draw(st.just(data) | damaged([data]))


@fuzzed("metrics.jsonl", data=_lines(LINES))
def test_losses(case, data):
  path = case.folder / "metrics.jsonl"
  path.write_bytes(data)
  with case.refuses(CheckpointError, naming=path):
    for curve in losses.read(path, STAGES):
      json.dumps(curve.as_json(), allow_nan=False)


@fuzzed(
  "unreadable.jsonl",
  data=_lines(
    [
      {"stage": 1, "step": 0, "row": 1, "clip": 3, "id": "a", "reason": "b"},
      {"stage": 1, "step": 9, "row": 2, "clip": 4, "id": None, "reason": "b"},
    ]
  ),
)
def test_unreadable(case, data):
  path = case.folder / "unreadable.jsonl"
  path.write_bytes(data)
  with case.refuses(UnreadableError, naming=path):
    skipped = Skipped(case.folder, 1, 0.5)
    skipped.tell(1, [Unreadable(1, 3, "../../a\n", "gone")])


@fuzzed("metrics.jsonl, gone on with", data=_lines(LINES))
def test_metrics(case, data):
  path = case.folder / "metrics.jsonl"
  path.write_bytes(data)
  with case.refuses(MetricsError, naming=path), Metrics(case.folder) as metrics:
    metrics.begin(1, 1)
