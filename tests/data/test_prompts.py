"""Prompts against those of the published code."""

import json
import pathlib

import pytest

from ltu_jax.data import prompts

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "prompts.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_equals_the_published_prompt(case):
  question = case["instruction"], case["input"]
  assert prompts.build_prompt(*question) == case["prompt"]
  full = prompts.build_full_text(*question, case["output"])
  assert full == case["full_prompt"]
