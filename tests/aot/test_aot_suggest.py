import dataclasses

import pytest
from aot_plan import V5E_8, plan

from ltu_jax.aot import roofline, suggest, topologies
from ltu_jax.aot.compile import PlanError, Result
from ltu_jax.aot.hlo import Collective
from ltu_jax.aot.topologies import GIB


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

  found, _ = suggest.search(plan(), lines.append, 60, compile_plan)
  assert found.model.llama.remat == "full"
  assert (found.micro_batches, found.mesh["tensor"]) == (2, 1)
  assert any("too large by 2.00 GiB" in line for line in lines)
  assert any("fits" in line for line in lines)


@pytest.mark.parametrize("trains, remats", [(True, 3), (False, 2)])
def test_less_is_recomputed_first_and_the_encoder_apart(trains, remats):
  """Of a frozen encoder nothing is kept, so that its policy is no choice."""
  patterns = plan().trainable if trains else ("^projector/",)
  made = list(suggest.candidates(plan(trainable=patterns)))
  work = [roofline.row(option).executed for option in made]
  assert work == sorted(work)
  assert len(set(work)) == remats


@pytest.mark.usefixtures("cpu_devices")
def test_suggest_does_not_compile_what_the_weights_alone_fill(monkeypatch):
  small = dataclasses.replace(topologies.CHIPS["v5e"], usable_bytes=1e8)
  monkeypatch.setitem(topologies.CHIPS, "v5e", small)
  with pytest.raises(PlanError, match="nothing fits"):
    suggest.search(plan(), lambda line: None, 1, pytest.fail)


@pytest.mark.usefixtures("cpu_devices")
def test_suggest_leaves_out_what_cannot_fit_either():
  """Twice as many micro-batches halve the temporaries at best."""
  compiled = []

  def compile_plan(option):
    compiled.append(option.micro_batches)
    if option.micro_batches < 8:
      size = 80 * GIB / option.micro_batches
      return Result(
        GIB, size, capacity_bytes=15.75 * GIB, missing_bytes=size - 14 * GIB
      )
    return Result(GIB)

  one = dataclasses.replace(V5E_8, shape=(1, 8))
  suggest.search(plan(topology=one), lambda line: None, 30, compile_plan)
  # 1 and 2 are tried with each tensor axis; 40 GiB are still far too much.
  assert 4 not in compiled
  assert 8 in compiled


@pytest.fixture
def no_integers(monkeypatch):
  """A base that has to stay as it is."""
  monkeypatch.setattr(suggest, "smaller_bases", lambda made: [])


@pytest.mark.usefixtures("cpu_devices")
def test_suggest_takes_a_smaller_base_last():
  whole = plan()

  def compile_plan(option):
    if option.model.llama.base_dtype:
      return Result(1e9)
    return Result(1e9, 1e9, missing_bytes=1e9)

  found, _ = suggest.search(whole, lambda line: None, 2, compile_plan)
  assert found.model.llama.base_dtype == "int8"
  assert suggest.describe(found).endswith("base int8")
  assert suggest.smaller_bases(found) == []


def sizes(fixed, of_the_rows, room=16 * GIB):
  """A compiler of a program that needs so much, and more with its rows.

  Args:
    fixed: plan -> bytes.
    of_the_rows: bytes of all rows of a device in one micro-batch.
    room: bytes.
  """

  def compile_plan(option):
    temporary = of_the_rows / option.micro_batches
    missing = max(0.0, fixed(option) + temporary - room)
    return Result(
      fixed(option), temporary, capacity_bytes=room, missing_bytes=missing
    )

  return compile_plan


@pytest.mark.usefixtures("cpu_devices", "no_integers")
def test_what_would_fit_was_compiled():
  one = plan(mesh={"data": 8, "fsdp": 1, "tensor": 1})
  # Not all of the temporaries shrink with the rows: 8 GiB + 7 GiB of them.
  fixed = lambda made: (14 if made.mesh["fsdp"] == 1 else 8) * GIB
  compile_plan = sizes(fixed, 7 * GIB)
  compiled = []

  def count(option):
    compiled.append((option.mesh["fsdp"], option.micro_batches))
    return compile_plan(option)

  lines = suggest.would_fit(one, compile_plan(one), count)
  assert lines == [
    "--config.data.micro_batches=4 (or --batch=64): 15.75 GiB",
    "--mesh=data1,fsdp8,tensor1: 15.00 GiB",
  ]
  assert compiled == [(1, 4), (8, 1)]


@pytest.mark.usefixtures("cpu_devices", "no_integers")
def test_a_guess_that_the_compiler_does_not_bear_out_is_no_advice():
  """On one v5e, 7B in bfloat16: 3.6 GiB of the temporaries do not shrink."""
  result = Result(
    13.67 * GIB, 19.2 * GIB, capacity_bytes=15.75 * GIB, missing_bytes=GIB
  )
  compiled = []

  def compile_plan(option):
    compiled.append(option.micro_batches)
    size = 3.6 * GIB + 15.6 * GIB / option.micro_batches
    return dataclasses.replace(result, temporary_bytes=size)

  assert suggest.would_fit(plan(), result, compile_plan) == []
  assert compiled == [16]


@pytest.mark.usefixtures("cpu_devices")
def test_a_smaller_base_is_named_where_it_fits():
  fixed = lambda made: (8 if made.model.llama.base_dtype else 20) * GIB
  compile_plan = sizes(fixed, 12 * GIB)
  lines = suggest.would_fit(plan(), compile_plan(plan()), compile_plan)
  # Two micro-batches are needed too; and 4 bits are not, where 8 fit.
  assert lines == [
    "--config.model.llama.base_dtype=int8 --config.data.micro_batches=2 "
    "(or --batch=128): 14.00 GiB"
  ]


@pytest.mark.usefixtures("cpu_devices", "no_integers")
def test_weights_that_do_not_fit_are_no_matter_of_the_batch():
  compile_plan = sizes(lambda made: 20 * GIB, GIB)
  result = compile_plan(plan())
  assert suggest.would_fit(plan(), result, pytest.fail) == []
