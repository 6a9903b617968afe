"""Two real processes share a set's items, and find what one finds."""

import json
import subprocess
import sys

import pytest

import made_up_sets
import process_run
import tiny_bert
from ltu_jax.convert.bundle_folder import write_bundle
from random_model import published_tensors, random_model
from test_evaluate_main import CFG, TOKENIZER

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A bundle, two sets and an embedder."""
  root = tmp_path_factory.mktemp("shared")
  tensors = published_tensors(random_model(CFG))
  write_bundle(root / "bundle", tensors, CFG, TOKENIZER, None, {})
  for name in ("esc50", "mmau"):
    made_up_sets.make(root / "data", name, made_up_sets.forms(name)[0])
  tiny_bert.write_folder(root / "bert")
  return root


def start(root, out, *more):
  """One process of the command."""
  command = [sys.executable, "-m", "ltu_jax.evaluate"]
  args = [
    *(f"--bundle={root / 'bundle'}", f"--data={root / 'data'}"),
    *("--sets=esc50,mmau", f"--embedder={root / 'bert'}"),
    *("--max_new_tokens=4", "--rows=2", "--json", f"--out={root / out}"),
  ]
  return subprocess.Popen(
    [*command, *args, *more],
    cwd=process_run.ROOT,
    env=process_run.environment(1),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_two_processes_find_what_one_finds(folder):
  alone = start(folder, "alone")
  told, errors = alone.communicate(timeout=300)
  assert alone.returncode == 0, errors
  port = process_run.free_port()
  both = [
    start(
      *(folder, "shared", f"--coordinator=127.0.0.1:{port}"),
      *("--num_processes=2", f"--process_id={n}"),
    )
    for n in range(2)
  ]
  told_both = [process.communicate(timeout=300) for process in both]
  for process, (_, errors) in zip(both, told_both, strict=True):
    assert process.returncode == 0, errors
  assert told_both[1][0] == ""  # only the first prints
  # Gloo, which connects CPUs, prints a line of its own before.
  one, two = (json.loads(t.splitlines()[-1]) for t in (told, told_both[0][0]))
  for a, b in zip(one, two, strict=True):
    assert a["metrics"] == b["metrics"] and a["classes"] == b["classes"]
  asked = folder / "shared/asked"
  for n in range(2):
    lines = (asked / f"esc50-{n}-of-2.jsonl").read_text().splitlines()
    numbers = {json.loads(line)["item"] for line in lines}
    assert numbers == set(range(n, one[0]["data"]["items"], 2))
  items = [
    (folder / out / "esc50.items.jsonl").read_text().splitlines()
    for out in ("alone", "shared")
  ]
  for a, b in zip(*(map(json.loads, lines) for lines in items), strict=True):
    assert (a["answers"], a["said"]) == (b["answers"], b["said"])
