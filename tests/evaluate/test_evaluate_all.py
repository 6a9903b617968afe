"""Every set as its owners distribute it, from one command to the page."""

import json

import pytest

import made_up_sets
import tiny_bert
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.evaluate import __main__ as evaluate_main
from ltu_jax.evaluate import result
from ltu_jax.evaluate.sets import catalog
from ltu_jax.evaluate.sets.spec import OPEN
from random_model import published_tensors, random_model
from test_evaluate_main import CFG, TOKENIZER

pytestmark = pytest.mark.slow


def test_all_sets(tmp_path, capsys):
  tensors = published_tensors(random_model(CFG))
  write_bundle(tmp_path / "bundle", tensors, CFG, TOKENIZER, None, {})
  for name in made_up_sets.names():
    made_up_sets.make(tmp_path / "data", name, made_up_sets.forms(name)[0])
  tiny_bert.write_folder(tmp_path / "bert")
  out = tmp_path / "out"
  status = evaluate_main.main(
    [
      *(f"--bundle={tmp_path / 'bundle'}", f"--data={tmp_path / 'data'}"),
      *(f"--sets={','.join(catalog.SETS)}", f"--out={out}", "--report"),
      *(f"--embedder={tmp_path / 'bert'}", "--max_new_tokens=4"),
      *("--json", "--rows=4", f"--compile_cache={tmp_path / 'compiled'}"),
    ]
  )
  told = capsys.readouterr()
  assert status == 0, told.err
  found = {each["set"]: each for each in json.loads(told.out)}
  assert list(found) == list(catalog.SETS)
  for name, spec in catalog.SETS.items():
    made = result.read(out / f"{name}.json")
    assert made.data["items"] == made.data["found"] > 0
    assert len(result.read_items(out / f"{name}.json")) == made.data["items"]
    assert made.published == dict(spec.published)
    values = [metric.value for metric in made.metrics]
    assert (
      any(v is not None for v in values)
      or spec.kind == OPEN
      or (
        # A model that knows nothing may choose no letter.
        name == "air_bench"
      )
    )
    assert all(metric.note for metric in made.metrics if metric.value is None)
  page = (out / "report" / "index.html").read_text(encoding="utf-8")
  for spec in catalog.SETS.values():
    assert spec.title in page
  assert "not judged" in page
