"""Made-up clips and questions in the form of OpenAQA's records."""

import io

import numpy as np
import soundfile

from ltu_jax.data.question_index import QuestionIndex

TASKS = ("cla_label", "caption", "temporal_order")
DATASETS = ("mini", "other")


def flac(samples, rate=16000):
  buffer = io.BytesIO()
  soundfile.write(buffer, samples, rate, format="FLAC")
  return buffer.getvalue()


def samples_of(clip):
  """int16 noise that tells clips apart, of another length for each."""
  rng = np.random.default_rng(clip)
  return rng.integers(-9000, 9000, 1600 + 160 * clip, dtype=np.int16)


def record(clip, num_questions):
  """One clip as TFDS gives it: text as bytes, a mapping of lists."""
  numbers = range(num_questions)
  return {
    "id": f"clip-{clip}".encode(),
    "audio": flac(samples_of(clip)),
    "questions": {
      "instruction": [f"Question {clip}.{q}: what?".encode() for q in numbers],
      "output": [f"Answer {clip}.{q}, café.".encode() for q in numbers],
    },
  }


def make(num_clips=7):
  """Returns records and their index; clip c has c questions (0, 1, 2, ...)."""
  records = [record(clip, clip) for clip in range(num_clips)]
  places = [(c, q) for c in range(num_clips) for q in range(c)]
  clip, question = np.array(places).T
  index = QuestionIndex(
    clip=clip.astype(np.int32),
    question=question.astype(np.int16),
    task=(question % 3).astype(np.uint8),
    dataset=(clip % 2).astype(np.uint8),
    tasks=TASKS,
    datasets=DATASETS,
  )
  return records, index
