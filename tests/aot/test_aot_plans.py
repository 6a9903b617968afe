import dataclasses
import sys

import jax
import pytest

from configs import base
from ltu_jax import config as config_lib
from ltu_jax.aot import compile as compile_lib
from ltu_jax.aot import report, roofline, suggest, topologies
from ltu_jax.aot.__main__ import parse_mesh
from ltu_jax.aot.compile import PlanError, Result, out_of_memory
from ltu_jax.aot.hlo import Collective
from ltu_jax.aot.topologies import GIB, TopologyError

# Its eight devices are simulated ones here; no TPU compiler is needed.
V5E_8 = topologies.parse("v5e:2x4")


@pytest.fixture
def cpu_devices(monkeypatch):
  monkeypatch.setattr(compile_lib, "devices", lambda t: jax.devices())


def plan(**changes):
  config = base.get_config()
  made = compile_lib.Plan(
    config_lib.model_config(config),
    V5E_8,
    {"data": 1, "fsdp": 8, "tensor": 1},
    256,
    1,
    108,
    config_lib.stages(config)[-1].trainable,
  )
  return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("text", ["v9:2x2", "v5e", "v5e:2x2x1", "v4:2x2", ""])
def test_unknown_topologies_list_the_known(text):
  with pytest.raises(TopologyError, match=r"v4:AxBxC, v5e:AxB.*tpu7x"):
    topologies.parse(text)


def test_known_topologies():
  two = topologies.parse("v5p:2x2x4", slices=2)
  assert (two.num_chips, str(two)) == (32, "2 slices of v5p:2x2x4")


def test_a_missing_compiler_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "libtpu", None)

  def fail(**unused):
    raise NotImplementedError("JAX TPU support not installed; cannot generate")

  monkeypatch.setattr(topologies.topologies, "get_topology_desc", fail)
  with pytest.raises(TopologyError, match=r"pip install -e '\.\[tpu\]'"):
    topologies.devices(V5E_8)


def test_a_shape_that_no_host_has_is_named(monkeypatch):
  def fail(**unused):
    raise RuntimeError('Topology layout "v5e:3x5" is not divisible by ...')

  monkeypatch.setattr(topologies.topologies, "get_topology_desc", fail)
  with pytest.raises(TopologyError, match=r"v5e:3x5.*2x2 chips"):
    topologies.devices(topologies.parse("v5e:3x5"))


def test_mesh_flag():
  assert parse_mesh("fsdp4,tensor2") == {"data": 1, "fsdp": 4, "tensor": 2}
  with pytest.raises(PlanError, match="data1,fsdp16,tensor1"):
    parse_mesh("model4")


def test_out_of_memory_messages():
  assert out_of_memory(
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
    "for HLO temporaries (32.90G) exceeds available HBM (15.75G)."
  ) == (32.90 * GIB, 15.75 * GIB)
  assert out_of_memory(
    "XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
    "Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G."
  ) == (20.5 * GIB, 15.75 * GIB)
  assert out_of_memory("INTERNAL: something else") is None


@pytest.mark.usefixtures("cpu_devices")
def test_a_batch_that_does_not_divide():
  with pytest.raises(PlanError, match=r"data \* fsdp = 8; .* multiple of 16"):
    compile_lib.mesh_of(plan(batch=24, micro_batches=2))


@pytest.mark.usefixtures("cpu_devices")
def test_the_data_axis_goes_over_slices():
  two = dataclasses.replace(V5E_8, shape=(2, 2), slices=2)
  with pytest.raises(PlanError, match="--mesh=data2"):
    compile_lib.mesh_of(plan(topology=two))
  mesh = compile_lib.mesh_of(
    plan(topology=two, mesh={"data": 2, "fsdp": 4, "tensor": 1})
  )
  ids = [[d.id for d in part.flat] for part in mesh.devices]
  assert [sorted(i) for i in ids] == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.usefixtures("cpu_devices")
def test_arguments_are_weights_moments_and_batch():
  """7B in bf16 and 93 M trained in float32, thrice, over eight chips."""
  mesh = compile_lib.mesh_of(plan())
  _, state, frozen, batch, _ = compile_lib.train_arguments(plan(), mesh)
  found = compile_lib.tree_bytes((state, frozen, batch))
  rows = 32 * (164080 * 2 + 4 + 108 * 4 * 4)
  want = (6_738_415_616 * 2 + 93_065_216 * 3 * 4) / 8 + rows
  # lora_b of q and v, 8 x 4096 in 32 layers, is cut along tensor alone.
  want += 7 / 8 * (2 * 32 * 8 * 4096) * 3 * 4
  # Norms and biases lie whole on every chip.
  assert found == pytest.approx(want, rel=0.002)
  assert found >= want - 1e6


@pytest.mark.usefixtures("cpu_devices")
def test_bounds():
  gather = Collective("all-gather", 800e9, 8, 2, True)
  result = Result(1e9, collectives=(gather,))
  found = roofline.bounds(plan(), result)
  work = roofline.question(plan()).executed
  assert found.compute == 256 * work / (8 * 197e12)
  assert found.interconnect == 7 / 8 * 1600e9 / 200e9
  # Three passes over 13.5 GB at 819 GB/s, and little else.
  assert found.memory == pytest.approx(3 * 13.9e9 / 819e9, rel=0.03)
  assert found.limit == "interconnect"
  assert found.rate(0.5) == pytest.approx(128 / found.interconnect)


def test_hours_of_the_published_stages():
  hours = roofline.stage_hours(rate=256 / 3.6)
  assert hours == {1: 9.0, 2: 9.2, 3: 6.0, 4: 20.0}


@pytest.mark.usefixtures("cpu_devices")
def test_suggest_tells_what_it_tried_and_takes_the_fastest_that_fits():
  lines = []

  def compile_plan(option):
    if option.model.llama.remat == "dots" or option.micro_batches == 1:
      return Result(1e9, missing_bytes=2 * GIB)
    # Slower with every tensor axis: so the first is the best.
    size = 1e12 * option.mesh["tensor"]
    return Result(
      1e9, collectives=(Collective("all-gather", size, 8, 1, True),)
    )

  found, _ = suggest.search(plan(), lines.append, 30, compile_plan)
  assert found.model.llama.remat == "full"
  assert (found.micro_batches, found.mesh["tensor"]) == (2, 1)
  assert any("too large by 2.00 GiB" in line for line in lines)
  assert any("fits" in line for line in lines)


@pytest.mark.usefixtures("cpu_devices")
def test_suggest_does_not_compile_what_the_weights_alone_fill():
  small = dataclasses.replace(topologies.CHIPS["v5e"], hbm_bytes=1e9)
  old = topologies.CHIPS["v5e"]
  topologies.CHIPS["v5e"] = small
  try:
    assert suggest.search(plan(), lambda line: None, 1, pytest.fail) is None
  finally:
    topologies.CHIPS["v5e"] = old


@pytest.mark.usefixtures("cpu_devices")
def test_report_says_by_how_much_it_does_not_fit():
  result = Result(
    2 * GIB, capacity_bytes=15.75 * GIB, missing_bytes=4.25 * GIB, seconds=9
  )
  assert "OUT OF MEMORY by 4.25 GiB: needs 20.00 of 15.75" in report.text(
    plan(), result
  )
  assert "does not fit, by 4.25 GiB" in report.row(
    "v5e-8", "7B", plan(), result
  )
  assert report.as_json(plan(), result)["fits"] is False


@pytest.mark.usefixtures("cpu_devices")
def test_what_would_fit_is_estimated():
  """Micro-batches divide temporaries, not weights."""
  one = plan(mesh={"data": 8, "fsdp": 1, "tensor": 1})
  # The base alone is 12.6 GiB a chip; half of it as int8.
  result = Result(
    14 * GIB,
    temporary_bytes=8 * GIB,
    capacity_bytes=16 * GIB,
    missing_bytes=6 * GIB,
  )
  lines = suggest.would_fit(one, result)
  assert "config.data.micro_batches=4 (about 16.00 GiB)" in lines[0]
  assert "--batch=64" in lines[1]
  assert "int8" in lines[2] and "15.7" in lines[2]
  assert "--mesh=data1,fsdp8,tensor1" in lines[3]


@pytest.mark.usefixtures("cpu_devices")
def test_weights_that_do_not_fit_are_no_matter_of_the_batch():
  result = Result(
    20 * GIB,
    temporary_bytes=GIB,
    capacity_bytes=16 * GIB,
    missing_bytes=5 * GIB,
  )
  lines = suggest.would_fit(plan(), result)
  assert not any("batch" in line for line in lines)
