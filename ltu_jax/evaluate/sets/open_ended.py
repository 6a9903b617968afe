"""The published open-ended questions, made by GPT-3.5 and by GPT-4.

open_as_gpt3.json, open_as_gpt4.json
          lists of OpenAQA objects about clips of AudioSet
anywhere  the sound files, by the name in audio_id
"""

import pathlib

from ltu_jax.evaluate.sets import published_json, reading
from ltu_jax.evaluate.sets.spec import Found


def find_gpt3(folder: pathlib.Path) -> Found:
  """Reads questions of GPT-3.5; see `reading.find`."""
  return reading.find(folder, _layout("open_as_gpt3.json"))


def find_gpt4(folder: pathlib.Path) -> Found:
  """Reads questions of GPT-4; see `reading.find`."""
  return reading.find(folder, _layout("open_as_gpt4.json"))


def _layout(published: str) -> reading.Layout:
  """Where the set is."""
  return reading.Layout(
    title="open-ended questions",
    metadata=(),
    published=published,
    published_clips=published_json.open_ended,
  )
