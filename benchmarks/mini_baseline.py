"""What a linear model hears in openaqa/mini: the bar for the quickstart.

  pip install -e '.[benchmarks]'
  python -m benchmarks.mini_baseline

Logistic regression on mean, deviation and maximum over time of each mel band,
on clips with one sound; trained on `train`, scored on `test`, whose recordings
are others.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ltu_jax.audio.decode import decode
from ltu_jax.audio.fbank import log_mel
from tfds_builders.openaqa.openaqa_dataset_builder import Builder

_ROWS = 16


def single_sounds(source) -> Iterator[Mapping[str, Any]]:
  """The records of clips with one event."""
  for record in source:
    if len(record["events"]["label"]) == 1:
      yield record


def statistics(source) -> tuple[np.ndarray, np.ndarray]:
  """Features float32 [clips, 3 * 128] and labels [clips]."""
  fbank = jax.jit(log_mel)
  records = list(single_sounds(source))
  rows = []
  for start in range(0, len(records), _ROWS):
    pcm = np.stack([decode(r["audio"]) for r in records[start : start + _ROWS]])
    lengths = np.full(len(pcm), pcm.shape[1], np.int32)
    frames = np.asarray(fbank(pcm, lengths))[:, : pcm.shape[1] // 160 - 2]
    stats = [frames.mean(1), frames.std(1), frames.max(1)]
    rows.append(np.concatenate(stats, axis=1))
  labels = [r["events"]["label"][0].decode() for r in records]
  return np.concatenate(rows), np.array(labels)


def main() -> None:
  """Trains, scores and prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--data_dir", default=None, help="TFDS's folder")
  parser.add_argument("--c", type=float, default=0.1, help="inverse L2 weight")
  args = parser.parse_args()
  builder = Builder(config="mini", data_dir=args.data_dir)
  builder.download_and_prepare()
  train, test = (
    statistics(builder.as_data_source(split)) for split in ("train", "test")
  )
  model = make_pipeline(
    StandardScaler(), LogisticRegression(C=args.c, max_iter=1000)
  ).fit(*train)
  print(f"{model.score(*test):.3f} of {len(test[1])} single sounds are right")
  wrong = model.predict(test[0]) != test[1]
  for label in sorted(set(test[1][wrong])):
    print(f"  {label}: {np.sum(wrong & (test[1] == label))} wrong")


if __name__ == "__main__":
  main()
