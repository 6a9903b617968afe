"""Meta information in one line, read and written again.

The lines have the traits of the published ones, of which 600 can be had: all of
those came back as they were, too.
"""

import json
import random

import pytest

from ltu_jax.aqa import meta_line
from ltu_jax.aqa.records import ClipRecord, Event, Span
from ltu_jax.evaluate.errors import EvaluateError

_LABELS = (
  "Tap",
  "Female speech, woman speaking",
  "Motor vehicle (road)",
  "Roaring cats (lions, tigers)",
)
# Commas, cut words, doubled spaces, brackets and line breaks come up.
_FEATURES = (
  "Dull, high-pitched and reverberant",
  "Short, sharp, and nasa",
  "Deep,  reverberant,  and mighty",
  "Loud (very) and close",
  "High frequency and burst-like\n\nhigh-pitched",
)


def _published(seed):
  """An entry of the published form, written by hand here."""
  rng = random.Random(seed)
  events = []
  for label in rng.sample(_LABELS, rng.randint(1, 4)):
    starts = sorted(rng.sample(range(90), rng.randint(1, 3)))
    spans = ", ".join(f"{s / 10}s-{s / 10 + 0.5:.1f}s" for s in starts)
    events.append(f"Sound of {label} ({rng.choice(_FEATURES)}): [{spans}]")
  return {
    "instruction": "",
    "input": "",
    "dataset": "as_strong_eval",
    "audio_id": f"/data/somebody/audio/-clip{seed:06d}.flac",
    "temporal": "; ".join(events),
    "caption": "A tap; somebody speaks.",
    "task": "all_info",
  }


def test_published_records_come_back_as_they_were(tmp_path):
  entries = [_published(seed) for seed in range(60)]
  path = tmp_path / "sample.json"
  path.write_text(json.dumps(entries))
  clips = list(meta_line.read_published(path))
  for clip, entry in zip(clips, entries, strict=True):
    assert clip.meta_line() == (
      f"Sound Events: {entry['temporal']}; Description: {entry['caption']}"
    )
    assert clip.audio == entry["audio_id"]
    assert clip.id == entry["audio_id"][-16:-5]
    assert {event.label for event in clip.events} <= set(_LABELS)
    assert {event.feature for event in clip.events} <= set(_FEATURES)
    assert clip.has_times and clip.has_features


@pytest.mark.parametrize(
  "clip",
  [
    ClipRecord("", ""),
    ClipRecord("", "", captions=("Rain.",)),
    ClipRecord("", "", (Event("Owl"), Event("Motor vehicle (road)"))),
    ClipRecord("", "", (Event("Owl", "Low"), Event("Wind")), ("Rain.",)),
    ClipRecord("", "", (Event("Motor vehicle (road)", "Low"),)),
    ClipRecord("", "", (Event("Owl", spans=(Span(0.5, 0.5), Span(2, 9.5))),)),
  ],
)
def test_any_record_comes_back(clip):
  assert meta_line.parse(clip.meta_line(), labels=_LABELS) == clip


@pytest.mark.parametrize(
  ("line", "words"),
  [
    ("A bell rings.", "'A bell rings.' is no event"),
    ("Sound of Tap: [3.0s-1.0s]", r"3\.0-1\.0 s ends before it starts"),
  ],
)
def test_another_form_is_one_error_with_its_entry(line, words, tmp_path):
  path = tmp_path / "sample.json"
  path.write_text(
    json.dumps([_published(0), _published(1) | {"temporal": line}])
  )
  with pytest.raises(EvaluateError, match=rf"sample\.json, entry 2: .*{words}"):
    list(meta_line.read_published(path))
