"""What is wrong with a config for its data, found all at once and by name."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import quickstart
from ltu_jax import base, supply
from ltu_jax import config as config_lib
from ltu_jax.config import ConfigError
from ltu_jax.config_check_data import check_with_data
from ltu_jax.data.prompts import build_full_text, build_prompt
from ltu_jax.data.question_index import QuestionIndex
from ltu_jax.data.question_source import QuestionSource
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.sharding import make_mesh
from ltu_jax.supply import Synthetic


class Letters:
  """A tokenizer of one token a letter."""

  vocab_size = 300

  def encode(self, text, *, bos, eos):
    return [1] * bos + [*text.encode()] + [2] * eos


@dataclasses.dataclass
class Data:
  """A supply of given questions; see `supply.Supply`."""

  source: QuestionSource
  batch_size: int = 12

  def questions(self, stage):
    return supply.questions(self.source, stage)

  def size(self, stage):
    return self.questions(stage).num_rows, self.batch_size


class Clips(list):
  """Records, some of them damaged; remembers which were read."""

  def __init__(self, records, damaged=()):
    super().__init__(records)
    self.damaged, self.read = damaged, []

  def __getitem__(self, clip):
    if clip in self.damaged:
      raise ValueError("damaged")
    self.read.append(clip)
    return super().__getitem__(clip)


def clips(texts, damaged=()):
  records = [
    {
      "id": b"clip",
      "audio": b"not decoded",
      "questions": {"instruction": [question], "output": [answer]},
    }
    for question, answer in texts
  ]
  return Clips(records, damaged)


TEXTS = [(b"What is %d?" % i, b"It is a sound.") for i in range(64)]


def data(texts=TEXTS, damaged=(), task="caption"):
  index = QuestionIndex.make([[(task, "vgg")]] * len(texts))
  return Data(QuestionSource(clips(texts, damaged), index))


def config_with(stages, **changes):
  config = quickstart.get_config()
  config.data.max_tokens = 200
  config.data.update(changes)
  first = config.stages.stage1.to_dict() | dict(tasks=(), datasets=())
  config.stages = {
    f"stage{number}": first | {"number": number} | fields
    for number, fields in stages.items()
  }
  return config


def run(config, data, tokenizer=None, mesh=None):
  check_with_data(config, config_lib.stages(config), data, tokenizer, mesh)


def problems(*args) -> list[str]:
  with pytest.raises(ConfigError) as told:
    run(*args)
  return str(told.value).splitlines()


def length(text, eos=False):
  return len(Letters().encode(text, bos=True, eos=eos))


def test_what_is_right():
  config = config_with({1: {}, 2: {"steps": 0, "epochs": 5}})
  run(config, data(), Letters(), make_mesh({"tensor": 4, "data": 2}))
  run(config_with({1: {}}), Synthetic(config), None)


@pytest.mark.parametrize(
  "fields, words",
  [
    ({"tasks": ("singing",)}, ["stage1.tasks:", "'singing'"]),
    ({"datasets": ("radio",)}, ["stage1.datasets:", "'radio'"]),
    ({"steps": 0, "epochs": 0.0}, ["stage1.steps:", "no step of 12"]),
    ({"steps": 0}, ["stage1.warmup_steps is 20", "5 steps"]),
    (
      {"steps": 0, "warmup_steps": 0, "handoff_step": 6},
      ["stage1.handoff_step is 6", "5 steps"],
    ),
  ],
)
def test_each_problem_names_its_field(fields, words):
  (line,) = problems(config_with({1: fields}), data())
  assert all(word in line for word in words), line


def test_no_full_batch():
  config = config_with({1: {"steps": 0, "epochs": 3.0}})
  few = dataclasses.replace(data(), batch_size=65)
  (line,) = problems(config, few)
  assert "config.stages.stage1.steps: 64 rows" in line
  assert "config.data.batch_size" in line


def test_made_up_data_need_steps():
  config = config_with({1: {"steps": 0}})
  (line,) = problems(config, Synthetic(config))
  assert line.startswith("config.stages.stage1.steps:")


def test_the_prompt_alone_fills_the_row():
  """A number that fits every text is named, and that number will do."""
  config = config_with({1: {}, 3: {}}, max_tokens=length(build_prompt("")))
  (line,) = problems(config, data(), Letters())
  longest = max(
    length(build_full_text(q.decode(), "", a.decode()), True) for q, a in TEXTS
  )
  assert line.startswith(f"config.data.max_tokens is {config.data.max_tokens}:")
  assert "stage 1, 3" in line and f"{longest} would fit" in line
  config.data.max_tokens = longest
  run(config, data(), Letters())


def test_all_answers_are_cut():
  shortest = min(length(build_prompt(q.decode())) for q, _ in TEXTS)
  fields = {1: {"max_tokens": shortest}, 2: {"max_tokens": shortest + 1}}
  (line,) = problems(config_with(fields), data(), Letters())
  assert line.startswith(f"config.stages.stage1.max_tokens is {shortest}:")
  # One letter is left of an answer in stage 2.
  run(config_with({2: fields[2]}), data(), Letters())


def test_one_short_question_of_many_is_enough():
  texts = [(b"long " * 100, b"x")] * 31 + [(b"short", b"x")]
  config = config_with({1: {}}, max_tokens=60)
  run(config, data(texts), Letters())


def test_32_questions_are_read_evenly_and_damaged_ones_passed_over():
  source = data([(b"What?", b"x")] * 320, damaged=range(5))
  run(config_with({1: {}}), source, Letters())
  read = source.source.clips.read
  assert len(read) == 31 and read[0] == 10 and read[-1] == 319
  assert set(np.diff(read)) <= {10, 11}


def test_without_a_question_that_can_be_read_the_prompt_counts():
  empty = length(build_prompt(""))
  none = data(TEXTS, damaged=range(64))
  run(config_with({1: {}}, max_tokens=empty + 1), none, Letters())
  (line,) = problems(config_with({1: {}}, max_tokens=empty), none, Letters())
  assert f"{empty + 2} would fit" in line


def test_all_at_once():
  config = config_with(
    {
      1: {"tasks": ("singing",), "datasets": ("radio",)},
      2: {"steps": 0, "handoff_step": 9, "max_tokens": 5},
      3: {},
    },
    max_tokens=7,
  )
  lines = problems(config, data(), Letters(), make_mesh({"tensor": 8}))
  assert [line.split(" ")[0].rstrip(":") for line in lines] == [
    "config.data.max_tokens",
    "config.stages.stage1.datasets",
    "config.stages.stage1.tasks",
    "config.stages.stage2.handoff_step",
    "config.stages.stage2.max_tokens",
    "config.stages.stage2.warmup_steps",
    "config.tokenizer.vocab_size",
  ]


def test_a_vocabulary_that_the_mesh_cannot_divide():
  config = config_with({1: {}})
  mesh = make_mesh({"tensor": 8})
  (line,) = problems(config, data(), Letters(), mesh)
  assert "config.tokenizer.vocab_size" in line and "300 ids" in line
  assert "8 parts of config.mesh.tensor" in line


def test_a_tokenizer_of_another_decoder(tmp_path):
  llama = LlamaConfig(vocab=8, dim=8, mlp_dim=8, layers=1, heads=1, kv_heads=1)
  params = {"llama": {"norm": {"scale": jax.numpy.ones(8)}}}
  base.save(tmp_path / "base", params, {"llama": llama}, ["a test"])
  config = config_with({1: {}})
  config.base = str(tmp_path / "base")
  config_lib.adopt(config, {"llama": llama})
  (line,) = problems(config, data(), Letters())
  assert line.startswith("config.tokenizer.model: the tokenizer has 300 ids")


def test_a_stage_is_named_as_the_config_names_it():
  config = config_with({1: {"steps": 0}})
  config.stages = {"warm_up": config.stages.stage1.to_dict()}
  (line,) = problems(config, data())
  assert line.startswith("config.stages.warm_up.warmup_steps")
