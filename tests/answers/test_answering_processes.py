"""Answers, draws and scores where the mesh spans two real processes."""

import json
import subprocess
import sys

import pytest

import process_run

# Each process answers on its own first, then with the other one.
CODE = """
import contextlib, dataclasses, json, sys
tests, process, port, shapes, out = sys.argv[1:]
sys.path[:0] = [tests]
from ltu_jax import processes
processes.start(
  coordinator="127.0.0.1:" + port, num_processes=2, process_id=int(process),
  timeout=120,
)
import jax
import numpy as np
from flax import nnx
import golden_data
from letters import Letters
from ltu_jax import generate, sampling, sharding
from ltu_jax.answers.answerer import Answerer, Question
from ltu_jax.answers.likelihood import Likelihood

drawn = sampling.SamplingConfig(
  temperature=1.0, top_p=0.9, top_k=40, max_new_tokens=12
)
greedy = dataclasses.replace(sampling.GREEDY, max_new_tokens=12)
clip = (np.random.default_rng(0).normal(size=9000) * 3000).astype(np.int16)
questions = [
  Question("What?", clip, config=greedy),
  Question("Why?", config=drawn, seed=3),
  Question("How is it?", clip, config=drawn),
  Question("What? And why?", config=greedy),
  Question("What? And why?", clip, config=drawn),
]
labels = ["a dog", "a dog barks", "rain"]


def every(model, mesh):
  rows = {"num_rows": 2, "mesh": mesh}
  answerer = Answerer(model, Letters(), context=192, **rows)
  answers = {n: a.text for n, a in answerer.answers(questions)}
  scorer = Likelihood(model, Letters(), answers=labels, **rows)
  with jax.set_mesh(mesh) if mesh else contextlib.nullcontext():
    pcm, num_samples = generate.batch_clips([clip, None])
    generated = generate.generate(
      model, [[1, 5, 6], [1, 7]], pcm=pcm, num_samples=num_samples,
      config=drawn, key=jax.random.key(0),
    )
  return {
    "answers": [answers[n] for n in range(len(questions))],
    "scores": [s.total.tolist() for _, s in scorer.scores(questions)],
    "generated": generated,
  }


model = golden_data.model("forward_a")
alone = every(model, None)
together = []
for shape in json.loads(shapes):
  mesh = sharding.make_mesh(shape)
  graphdef, state = nnx.split(model)
  spread = jax.tree.map(
    lambda x, cut: jax.make_array_from_callback(
      x.shape, cut, lambda index: np.asarray(x)[index]
    ),
    state,
    sharding.shardings(sharding.abstract_with_sharding(state, mesh)),
  )
  together.append(every(nnx.merge(graphdef, spread), mesh))
with open(out, "w") as file:
  json.dump([alone, *together], file)
"""


@pytest.mark.slow
def test_two_processes_say_what_one_says(tmp_path):
  """Asked the same in the same order; each learns all answers."""
  # Rows of other processes, and heads and vocabulary.
  shapes = [{"data": 2, "tensor": 2}, {"tensor": 4}]
  port = process_run.free_port()
  outs = [tmp_path / str(process) for process in range(2)]
  tests = process_run.ROOT / "tests"
  arguments = [str(port), json.dumps(shapes)]
  started = [
    subprocess.Popen(
      [sys.executable, "-c", CODE, str(tests), str(i), *arguments, str(out)],
      cwd=process_run.ROOT,
      env=process_run.environment(devices=2),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i, out in enumerate(outs)
  ]
  for status, _, err in process_run.finish(started, timeout=900):
    assert status == 0, err
  found = [json.loads(out.read_text()) for out in outs]
  assert found[0] == found[1]
  alone, *others = found[0]
  assert len({*alone["answers"]}) > 2
  for together in others:
    assert together["answers"] == alone["answers"]
    assert together["generated"] == alone["generated"]
    for ours, want in zip(together["scores"], alone["scores"], strict=True):
      # Sums in another order, as in test_likelihood.
      assert ours == pytest.approx(want, rel=2e-6, abs=1e-5)
