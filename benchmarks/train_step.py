"""The training step's speed on the devices at hand, on made-up batches.

  python -m benchmarks.train_step --config=configs/stage4.py:tiny
  python -m benchmarks.train_step --config=configs/stage4.py \
    --config.data.batch_size=16 --config.model.llama.remat=dots

Weights are drawn on the devices, batches lie there before the clock starts:
what is measured is the compiled step alone. Model FLOPs are those of
ltu_jax/aot/flops.py (the mathematics, without what remat repeats); their share
is of the matmul rate that was measured just before, in the model's own dtype.
"""

import contextlib
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import ml_collections
from absl import app, flags, logging

from ltu_jax import config as config_lib
from ltu_jax import config_check, config_flag, supply, train
from ltu_jax.aot import flops
from ltu_jax.feed import Feed
from ltu_jax.gauges import parts
from ltu_jax.models.ltu import abstract
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import init_params, new_state, split_params
from ltu_jax.train_step import make_train_step

_BATCHES = 2


@dataclasses.dataclass(frozen=True)
class Measured:
  """What came out.

  Attributes:
    device: kind of the devices.
    devices: how many.
    versions: of jax and jaxlib.
    batch: rows a step.
    questions_per_step: mean over the batches.
    tokens: positions of a row, of audio and of text (padding too).
    compile_seconds: the first step, less one of the others.
    step_seconds: median of the steps.
    fastest_seconds: the fastest of them.
    model_flops: of a row.
    matmul_rate: FLOP/s of one device in a large matmul, best of several.
    matmul_dtype: its dtype, that of the decoder's activations.
    peak_bytes: most memory of a device so far; None where it does not say.
  """

  device: str
  devices: int
  versions: str
  batch: int
  questions_per_step: float
  tokens: int
  compile_seconds: float
  step_seconds: float
  fastest_seconds: float
  model_flops: float
  matmul_rate: float
  matmul_dtype: str
  peak_bytes: int | None

  @property
  def questions(self) -> float:
    """Questions/s."""
    return self.questions_per_step / self.step_seconds

  @property
  def tokens_per_second(self) -> float:
    """Positions/s, padding too."""
    return self.batch * self.tokens / self.step_seconds

  @property
  def flops_a_question(self) -> float:
    """Model FLOPs of a row, by its questions."""
    return self.batch * self.model_flops / self.questions_per_step

  @property
  def rate(self) -> float:
    """Model FLOP/s of all devices."""
    return self.batch / self.step_seconds * self.model_flops

  @property
  def share(self) -> float:
    """Model FLOP/s of a device as a share of its matmul rate."""
    return self.rate / self.devices / self.matmul_rate

  def as_json(self) -> dict:
    """All numbers."""
    return dataclasses.asdict(self) | {
      "questions_per_second": self.questions,
      "tokens_per_second": self.tokens_per_second,
      "flops_a_question": self.flops_a_question,
      "model_flops_per_second": self.rate,
      "share_of_matmul": self.share,
    }

  def text(self) -> str:
    """Some lines for people."""
    peak = "unknown"
    if self.peak_bytes is not None:
      peak = f"{self.peak_bytes / 2**30:.2f} GiB"
    return (
      f"{self.devices} x {self.device}, {self.versions}\n"
      f"  {self.batch} rows of {self.tokens} tokens, "
      f"{self.questions_per_step:.5g} questions: "
      f"{self.step_seconds:.4g} s a step (fastest {self.fastest_seconds:.4g}), "
      f"compiled in {self.compile_seconds:.0f} s\n"
      f"  {self.questions:.4g} questions/s, "
      f"{self.tokens_per_second:.4g} tokens/s, "
      f"{self.flops_a_question / 1e12:.4g} model TFLOPs a question, "
      f"{self.rate / 1e12:.4g} model TFLOP/s\n"
      f"  {100 * self.share:.1f} % of the {self.matmul_rate / 1e12:.4g} "
      f"TFLOP/s of a {self.matmul_dtype} matmul; peak memory {peak}"
    )


def matmul_rate(dtype: str) -> float:
  """FLOP/s of one device: the best of five large square products."""
  size = 1024 if jax.default_backend() == "cpu" else 8192
  repeats = 4 if jax.default_backend() == "cpu" else 20
  a = jax.random.normal(jax.random.key(0), (size, size), dtype) / size**0.5

  @jax.jit
  def chain(x):
    return jax.lax.fori_loop(0, repeats, lambda _, x: x @ a, x)

  jax.block_until_ready(chain(a))
  best = float("inf")
  for _ in range(5):
    start = time.perf_counter()
    jax.block_until_ready(chain(a))
    best = min(best, time.perf_counter() - start)
  return 2 * size**3 * repeats / best


def measure(
  config: ml_collections.ConfigDict, number: int | None, steps: int
) -> Measured:
  """Runs the step of a config on made-up batches.

  Args:
    config: the run's config; its data are not read.
    number: the stage; None for the last.
    steps: how many are timed, after one that compiles and one more.

  Raises:
    ConfigError: the config cannot be run, or has no such stage.
  """
  config = ml_collections.ConfigDict(config.to_dict())
  config.data.source = "synthetic"
  config_check.check(config, jax.device_count())
  stages = {stage.number: stage for stage in config_lib.stages(config)}
  number = max(stages) if number is None else number
  if number not in stages:
    raise config_lib.ConfigError(
      f"--stage={number}: the config has {sorted(stages)}"
    )
  stage, cfg = stages[number], config_lib.model_config(config)
  if not stage.audio:
    raise config_lib.ConfigError(
      f"--stage={number} is text alone; stages that hear are measured"
    )
  mesh = make_mesh(config.mesh)
  rate = matmul_rate(cfg.llama.dtype)
  params = init_params(cfg, mesh, jax.random.key(config.seed))
  trainable, frozen = split_params(params, stage.trainable)
  step = make_train_step(
    abstract(cfg)[0],
    trainable,
    frozen,
    mesh,
    loss_norm=config.optimizer.loss_norm,
    max_grad_norm=config.optimizer.max_grad_norm,
    augment=config_lib.augment(config),
    loss_chunk=config.optimizer.loss_chunk,
  )
  trained = parts(trainable)
  state = new_state(trainable, jax.random.key(1), mesh)
  del params, trainable
  batch_size = config.data.batch_size
  feed = Feed(mesh, batch_size, config.data.micro_batches)
  source = supply.Synthetic(config).batches(stage, None, cfg.num_audio_tokens)
  rows = iter(source.dataset(feed.places))
  batches = [feed(next(rows)) for _ in range(_BATCHES)]
  schedule = stage.schedule(0, batch_size)
  seconds, questions = [], []
  for i in range(steps + 2):
    start = time.perf_counter()
    state, metrics = step(state, frozen, batches[i % _BATCHES], schedule)
    jax.block_until_ready((state, metrics))
    seconds.append(time.perf_counter() - start)
    questions.append(float(metrics["questions"]))
  text_tokens = source.shape(0).tokens
  device = jax.local_devices()[0]
  return Measured(
    device.device_kind,
    jax.device_count(),
    f"jax {jax.__version__}, jaxlib {jax.lib.__version__}",
    batch_size,
    statistics.mean(questions[2:]),
    cfg.num_audio_tokens + text_tokens,
    seconds[0] - statistics.median(seconds[2:]),
    statistics.median(seconds[2:]),
    min(seconds[2:]),
    flops.train_row(cfg, text_tokens, trained).model,
    rate,
    jnp.dtype(cfg.llama.dtype).name,
    (device.memory_stats() or {}).get("peak_bytes_in_use"),
  )


def run(argv: Sequence[str], values: flags.FlagValues) -> None:
  """Does what the flags say."""
  if len(argv) > 1:
    raise config_flag.FlagError(f"unknown arguments {argv[1:]}")
  if values.config is None or values.steps < 1:
    raise config_flag.FlagError("needs --config, and --steps of 1 or more")
  logging.set_verbosity(logging.WARNING)
  config = config_flag.config(values.config)
  try:
    with contextlib.redirect_stdout(sys.stderr):
      found = measure(config, values.stage, values.steps)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise config_lib.ConfigError(
      "out of memory; python -m ltu_jax.aot says what would fit a TPU. "
      + str(error).splitlines()[0]
    ) from error
  print(json.dumps(found.as_json(), indent=2) if values.json else found.text())


def main() -> None:
  """Entry point; a user's error is one line and status 2."""
  config_flag.define()
  flags.DEFINE_integer("stage", None, "Default: the last.")
  flags.DEFINE_integer("steps", 10, "Steps to time.")
  flags.DEFINE_bool("json", False, "Print JSON.")
  try:
    app.run(lambda argv: run(argv, flags.FLAGS), flags_parser=config_flag.parse)
  except (config_flag.FlagError, *train.USER_ERRORS) as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  main()
