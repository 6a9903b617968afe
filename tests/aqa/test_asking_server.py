"""A real small model is asked, behind the server of transformers.

SmolLM2 with its 135 million parameters writes weak answers, some of which are
JSON: that all is kept and read as it is, is what is tested.
"""

import json

import pytest
import transformers

import ask_command
from ltu_jax.aqa.asking.clips import Manner
from ltu_jax.aqa.records import ClipRecord, Event, Span

pytestmark = pytest.mark.slow

CLIPS = [
  ClipRecord(
    "LZq4Neh-oWU",
    "as_strong_train",
    (Event("Church bell", "Semi-musical and reverberant", (Span(0.0, 10.0),)),),
    ("A church bell rings.",),
    "LZq4Neh-oWU.flac",
  ),
  ClipRecord("2-dog", "esc50", (Event("Dog"),), (), "2-dog.wav"),
  ClipRecord("3-rain", "clotho", (), ("Rain on a roof.",), "3-rain.wav"),
]


def lines(path):
  return [json.loads(line) for line in path.open()]


def strict(text):
  """The pairs that the json module reads, wherever an object begins."""
  found = []
  for start, letter in enumerate(text):
    if letter == "{":
      try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
        found.append((value["q"].strip(), value["a"].strip()))
      except (ValueError, TypeError, LookupError, AttributeError):
        pass
  return found


def test_replies_of_a_real_model_are_kept_and_read(
  smollm2_served, tmp_path, capsys
):
  records = ask_command.write_records(tmp_path / "records.jsonl", CLIPS)
  flags = [f"--records={records}", f"--out={tmp_path}", "--timeout=300"]
  flags += [f"--base_url={smollm2_served.url}", "--workers=2"]
  flags += [f"--model={smollm2_served.folder}", "--max_tokens=80"]
  flags += ["--temperature=0"]
  assert ask_command.run("ask", *flags) == 0
  kept = lines(tmp_path / "replies.jsonl")
  assert sorted(line["clip"] for line in kept) == sorted(c.id for c in CLIPS)
  tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_served.folder)
  manner = Manner(str(smollm2_served.folder), 80, 0.0)
  by_clip = {line["clip"]: line for line in kept}
  for clip in CLIPS:
    line = by_clip[clip.id]
    assert line["said"].strip()
    # The model saw the whole prompt, by its own tokenizer and template.
    messages = list(manner.messages(clip))
    ids = tokenizer.apply_chat_template(
      messages, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert line["tokens"][0] == len(ids)
    assert 0 < line["tokens"][1] <= 80
    assert (line["finish"] == "length") == (line["tokens"][1] == 80)
  made = json.loads((tmp_path / "open.json").read_bytes())
  pairs = [(entry["instruction"], entry["output"]) for entry in made]
  want = [pair for clip in CLIPS for pair in strict(by_clip[clip.id]["said"])]
  assert [pair for pair in pairs if pair in want] == want
  assert any("{" in line["said"] for line in kept)
  report = json.loads((tmp_path / "open_report.json").read_bytes())
  assert (report["replies"], report["pairs"]) == (3, len(made))
  # All is there: the same comes out, and nobody is asked.
  before = (tmp_path / "open.json").read_bytes()
  capsys.readouterr()
  assert ask_command.run("ask", *flags, "--base_url=http://127.0.0.1:9") == 0
  assert (tmp_path / "open.json").read_bytes() == before
  assert "all 3 replies are there" in capsys.readouterr().err


def test_features_of_a_real_model(smollm2_served, tmp_path):
  labels, out = tmp_path / "labels.txt", tmp_path / "features.tsv"
  labels.write_text("Church bell\nRain\n")
  flags = [f"--labels={labels}", f"--out={out}", "--timeout=300"]
  flags += [f"--base_url={smollm2_served.url}", "--max_tokens=16"]
  status = ask_command.run(
    "features", *flags, f"--model={smollm2_served.folder}"
  )
  kept = lines(tmp_path / "features.tsv.replies.jsonl")
  assert sorted(line["label"] for line in kept) == ["Church bell", "Rain"]
  header, *rows = out.read_text().splitlines()
  assert header == "label\tfeature"
  # It may say too much for one; then the command does not call it done.
  assert len(rows) <= 2 and status == (len(rows) < 2)
  for row in rows:
    label, feature = row.split("\t")
    (said,) = [line["said"] for line in kept if line["label"] == label]
    assert feature.lower() in " ".join(said.split()).lower()
