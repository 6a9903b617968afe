"""Questions and answers in the published form; no test by itself."""

import json

OPEN = "open-ended question"


def qa(instruction="What barks?", output="A large dog barks.", **more):
  """An entry of a file."""
  values = {
    "instruction": instruction,
    "input": "",
    "audio_id": "some/dir/a.flac",
    "dataset": "as_strong_train",
    "task": OPEN,
    "output": output,
  }
  return values | more


def write(path, rows):
  """Writes a file of entries."""
  path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
  return path
