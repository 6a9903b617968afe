"""Real records to train on, whole and damaged."""

import shutil

import made_up_sounds
from tests.chaos.run import Run


def prepare(root, cache):
  """Writes sounds to ROOT/classes; a run builds ROOT/whole of them."""
  made_up_sounds.write_folder(root / "classes")
  run = Run(root / "first", cache, root / "whole")
  assert run.end() == 0, run.text()[-3000:]
  shutil.rmtree(root / "first")
  return root / "whole"


def damage(whole):
  """A copy in which three bits of the training records have changed."""
  copy = whole.with_name("damaged")
  shutil.copytree(whole, copy)
  (file,) = copy.rglob("*train.array_record*")
  data = bytearray(file.read_bytes())
  for part in (3, 5, 7):
    data[len(data) * part // 10] ^= 1
  file.write_bytes(data)
  return copy
