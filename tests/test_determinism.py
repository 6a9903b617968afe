"""The same seed gives the same bits: in any process, with any data threads.

That the order of the data depends on neither hosts nor threads is in
tests/data/test_openaqa.py.
"""

import pytest
from orbax.checkpoint import v1 as ocp

import made_up_sounds
import process_run
from checkpoint_states import bits

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")

STEPS = 50
CHANGES = {
  "stages.stage2.steps": STEPS,
  "checkpoint_every": 10**6,
  "mesh.data": 2,
  "mesh.fsdp": 2,
  "mesh.tensor": 1,
}


def outcome(sounds, workdir, threads):
  """Bytes of the final state, and the losses."""
  changes = CHANGES | {"data.num_threads": threads}
  ((status, _, err),) = process_run.finish(
    process_run.start(sounds, workdir, 1, 4, changes)
  )
  assert status == 0, err[-3000:]
  folder = workdir / f"checkpoints/stage2/{STEPS}"
  state = bits(ocp.load(folder, checkpointable_name="state"))
  return state, [x["loss"] for x in process_run.lines(workdir)]


@pytest.mark.slow
def test_fifty_steps_are_the_same_in_any_process_with_any_threads(tmp_path):
  made_up_sounds.write_folder(tmp_path / "classes")
  first = outcome(tmp_path, tmp_path / "a", threads=2)
  again = outcome(tmp_path, tmp_path / "b", threads=2)
  others = outcome(tmp_path, tmp_path / "c", threads=7)
  assert len(first[1]) == STEPS
  assert first == again == others
