"""One tiny bundle for all tests of the command line."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
import soundfile

import golden_data
from ltu_jax import ask, generate, sampling
from ltu_jax.convert.bundle_folder import write_bundle
from ltu_jax.data.prompts import build_prompt
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from random_model import published_tensors, random_model


@pytest.fixture(scope="session")
def tiny_model():
  """Model and tokenizer with random weights."""
  tokenizer = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")
  cfg = golden_data.config("forward_a")
  llama = dataclasses.replace(cfg.llama, vocab=tokenizer.vocab_size)
  return random_model(dataclasses.replace(cfg, llama=llama)), tokenizer


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model, tmp_path_factory):
  """The same as a bundle."""
  model, tokenizer = tiny_model
  folder = tmp_path_factory.mktemp("tiny") / "bundle"
  tensors = published_tensors(model)
  write_bundle(folder, tensors, model.cfg, tokenizer, None, {})
  return folder


@pytest.fixture
def asked(tiny_bundle):
  """Runs a command in this process; returns status, output and error."""

  def call(*argv, tokens=8):
    out, err = io.StringIO(), io.StringIO()
    source = [f"--bundle={tiny_bundle}", f"--max_new_tokens={tokens}"]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      status = ask.main([*source, *map(str, argv)])
    return status, out.getvalue(), err.getvalue()

  return call


@pytest.fixture(scope="session")
def direct(tiny_model):
  """What `generate` answers, greedily."""
  model, tokenizer = tiny_model

  def call(question, clip=None, limit=8):
    pcm, num_samples = generate.batch_clips([clip])
    [ids] = generate.generate(
      model,
      [tokenizer.encode(build_prompt(question), bos=True, eos=False)],
      pcm=pcm,
      num_samples=num_samples,
      config=sampling.SamplingConfig(0.0, 1.0, 0, 1.0, limit),
    )
    return tokenizer.decode(ids).strip()

  return call


@pytest.fixture(scope="session")
def noise():
  """Writes a sound; returns its samples."""

  def call(path, seed=0, seconds=0.5, rate=16000, channels=1):
    rng = np.random.default_rng(seed)
    size = (int(seconds * rate), channels)
    samples = (rng.normal(size=size) * 3000).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return samples[:, 0]

  return call


@pytest.fixture(scope="session")
def lines():
  """The records of an answers file or of JSON lines."""
  return lambda text: [json.loads(line) for line in text.splitlines()]
