"""Results made by hand: every kind of set, and text that wants to be code."""

import dataclasses
import itertools

import numpy as np

from ltu_jax.evaluate import result
from ltu_jax.evaluate.result import Classes, ItemResult, Metric, Result
from ltu_jax.evaluate.sets import spec

ESC50 = (
  *("dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep"),
  *("crow", "rain", "sea waves", "crackling fire", "crickets"),
  *("chirping birds", "water drops", "wind", "pouring water", "toilet flush"),
  *("thunderstorm", "crying baby", "sneezing", "clapping", "breathing"),
  *("coughing", "footsteps", "laughing", "brushing teeth", "snoring"),
  *("drinking, sipping", "door knock", "mouse click", "keyboard typing"),
  *("door, wood creaks", "can opening", "washing machine", "vacuum cleaner"),
  *("clock alarm", "clock tick", "glass breaking", "helicopter", "chainsaw"),
  *("siren", "car horn", "engine", "train", "church bells", "airplane"),
  *("fireworks", "hand saw"),
)

HOSTILE = (
  "<script>alert(1)</script>",
  "</style></script><img src=x onerror=alert(2)>",
  "\"' onmouseover='alert(3)' x=\"",
  "{{ 7 * 7 }} {% raw %} &lt;b&gt; &amp;",
  "one\u2028two \x00\x08\x85 \ud83d \u202eback wards",
  "| a | b |\n|---|---|\n# [x](javascript:alert(4)) `code` **bold** ~~no~~",
)
"""Answers, file names and labels that do harm where they are not escaped."""

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

SETTINGS = {
  "question": "Close-ended question: Write an audio caption describing the"
  " sound.",
  "decode": {"temperature": 0.1, "top_p": 0.95, "top_k": 500},
  "embedder": "all-MiniLM-L6-v2@9f86d081884c7d65",
  "seed": 0,
  "limit": None,
}


def base(name, title, kind, model="stage 4", **more):
  """A result without numbers."""
  return dataclasses.replace(
    Result(
      name,
      title,
      kind,
      {"name": model, "source": f"runs/{model.replace(' ', '-')}"},
      "2026-02-03T04:05:06+00:00",
      "0123456789abcdef",
      {"jax": "0.10.0", "flax": "0.12.8"},
      "8 x TPU v5 lite",
      SETTINGS,
      {
        "source": {f"data/{name}.csv": SHA},
        "total": 2000,
        "found": 1998,
        "unreadable": 1,
        "items": 1998,
        "missing": ["a.wav", "b.wav"],
      },
      {},
      [],
      None,
      754.2,
      {},
    ),
    **more,
  )


def item(number, truth, answers, **more):
  """An item's line."""
  given = dict(
    id=f"clip-{number}",
    audio=f"clip {number}.wav",
    path=None,
    question=SETTINGS["question"],
    truth=truth,
    answers=answers,
    said={},
    score={},
  )
  return ItemResult(**given | more)


def accuracy(scores, protocol="published", headline=True, **more):
  """The accuracy of scores, with a bootstrap interval that is near enough."""
  value = float(np.mean(scores))
  half = 1.96 * float(np.std(scores)) / len(scores) ** 0.5
  return Metric(
    *("accuracy", value, protocol, value - half, value + half, len(scores)),
    headline=headline,
    **more,
  )


def one_label(name, title, labels, right, model, seed, count=200, metric=None):
  """A set with one label an item, `right` of them said."""
  random = np.random.default_rng(seed)
  items, confusion = [], np.zeros((len(labels), len(labels)), int)
  for number in range(count):
    truth = number % len(labels)
    near = (truth + random.integers(1, 4)) % len(labels)
    said = truth if random.random() < right else int(near)
    confusion[truth, said] += 1
    items.append(
      item(
        number,
        (labels[truth],),
        (f"This is the sound of {labels[said]}.",),
        said={"published": labels[said], "constrained": labels[said]},
        score={"published": float(said == truth), "constrained": 0.5},
      )
    )
  scores = [x.score["published"] for x in items]
  measured = accuracy(scores, chance=1 / len(labels))
  if metric:
    measured = dataclasses.replace(measured, name=metric)
  made = base(
    *(name, title, spec.CLASSIFICATION, model),
    metrics=[
      measured,
      accuracy(
        [0.5] * count, "constrained", False, chance=1 / len(labels), note="n"
      ),
      Metric("mAP", None, "constrained", note="one label an item"),
    ],
    classes=Classes(
      labels,
      confusion.sum(1).tolist(),
      {},
      {"published": confusion.tolist(), "constrained": confusion.tolist()},
    ),
  )
  return made, items


def many_labels(name, title, number, model, seed, value):
  """A set with several labels an item."""
  random = np.random.default_rng(seed)
  labels = [f"Class {i}, a sound of kind {i % 7}" for i in range(number)]
  count = [int(x) for x in random.geometric(0.01, number)]
  count[3] = 0
  precision = [
    None if not n else float(x)
    for n, x in zip(count, random.beta(1, 3, number), strict=True)
  ]
  items = [
    item(
      i,
      (labels[i % number], labels[(2 * i) % number]),
      (labels[i % number],),
      score={"published": float(random.random())},
    )
    for i in range(60)
  ]
  made = base(
    *(name, title, spec.CLASSIFICATION, model),
    metrics=[
      Metric(
        "mAP", value, "published", value - 0.01, value + 0.01, 1998, chance=0.01
      ),
    ],
    classes=Classes(labels, count, {"published": precision}, {}),
  )
  made.metrics[0] = dataclasses.replace(made.metrics[0], headline=True)
  return made, items


def captions(name, title, model, seed, value):
  """A set of captions with five samples."""
  random = np.random.default_rng(seed)
  items = [
    item(
      i,
      tuple(f"A dog barks {i} times and a man speaks, {k}." for k in "abcde"),
      tuple(f"A man talks as dog {i} barks, sample {k}." for k in range(5)),
      score={"SPICE": float(random.random() / 2)},
    )
    for i in range(40)
  ]
  made = base(
    *(name, title, spec.CAPTIONS, model),
    settings=SETTINGS | {"embedder": "", "samples": 5},
    metrics=[
      Metric("SPICE", value, "", value - 0.01, value + 0.01, 1998, 0.003),
      Metric("CIDEr-D", 1.2345, "", 1.1, 1.3, 1998, 0.02),
      Metric("METEOR", None, note="needs Java: apt-get install default-jre"),
    ],
  )
  made.metrics[0] = dataclasses.replace(made.metrics[0], headline=True)
  return made, items


def open_ended(model):
  """A set with a judge, and items that had no answer."""
  items = [
    item(
      i,
      ("A reference answer.",),
      ("An answer.",) if i % 9 else (),
      question=f"Why is it so, number {i}?",
      said={"judge": "yes"} if i % 9 else {},
      score={"judge": float(i % 4 > 0)} if i % 9 else {},
      group=("sound", "music", "speech")[i % 3],
      error="" if i % 9 else f"clip {i}.wav: it is damaged",
    )
    for i in range(45)
  ]
  made = base(
    *("open_gpt3", "Open-ended (GPT-3.5)", spec.OPEN, model),
    settings={"judge": {"model": "a judge"}, "seed": 0},
    metrics=[
      Metric("instruction following", 0.75, "judge", 0.7, 0.8, 40, None, 0.0)
    ],
  )
  made.metrics[0] = dataclasses.replace(made.metrics[0], headline=True)
  return made, items


def hostile(model):
  """A set of which every text wants to be code."""
  labels = [*HOSTILE, "dog"]
  items = [
    ItemResult(
      *(f"{i}{text}", text, None, text, (text, text), (text, text)),
      {text: text},
      {text: float(i % 2)},
      text,
      text if i > 9 else "",
    )
    for i, text in enumerate(itertools.chain(HOSTILE, HOSTILE))
  ]
  matrix = np.eye(len(labels), dtype=int) + 1
  made = base(
    *("mini", HOSTILE[0], spec.CLASSIFICATION, model),
    settings={text: text for text in HOSTILE},
    revision=HOSTILE[1],
    versions={HOSTILE[1]: HOSTILE[2]},
    devices=HOSTILE[3],
    data={"source": {HOSTILE[0]: HOSTILE[1]}, "missing": list(HOSTILE)},
    metrics=[
      Metric(HOSTILE[0], 0.5, HOSTILE[0], headline=True, note=HOSTILE[1]),
      *(Metric(text, None, text, note=text) for text in HOSTILE),
    ],
    classes=Classes(
      labels,
      [3] * len(labels),
      {HOSTILE[0]: [0.5] * len(labels)},
      {HOSTILE[2]: matrix.tolist()},
    ),
  )
  return made, items


def all_sets(model="stage 4", better=0.0, seed=0, most=527):
  """Results of the paper's sets and one more; `better` moves the numbers."""
  voices = ("laughter", "sigh", "cough", "throat clearing", "sneeze", "sniff")
  classes = lambda labels: labels[:most]
  yield one_label("esc50", "ESC-50", classes(ESC50), 0.8 + better, model, seed)
  yield one_label(
    *("dcase2017", "DCASE 2017", classes(ESC50[:17]), 0.4 + better),
    *(model, seed),
    metric="micro F1",
  )
  yield one_label("vocalsound", "VocalSound", voices, 0.5 + better, model, seed)
  yield one_label(
    "tut2017", "TUT 2017", classes(ESC50[:15]), 0.3 + better, model, seed
  )
  yield one_label(
    "beijing_opera", "Beijing Opera", voices[:4], 0.6 + better, model, seed
  )
  many = [f"{x} {i}" for i in range(7) for x in ESC50][:309]
  yield one_label(
    *("vggsound", "VGGSound", classes(many), 0.45 + better, model, seed, 900)
  )
  for name, title, number, value in (
    ("fsd50k", "FSD50K", 200, 0.44),
    ("audioset", "AudioSet", 527, 0.17),
  ):
    yield many_labels(
      name, title, min(number, most), model, seed, value + better
    )
  yield captions("audiocaps", "AudioCaps", model, seed, 0.16 + better)
  yield captions("clotho", "Clotho", model, seed, 0.11 + better)
  yield open_ended(model)
  yield hostile(model)


def write(folder, results):
  """Writes results of one checkpoint."""
  for made, items in results:
    result.write(folder, made, items)
  return folder
