"""AudioSet's weak labels: which classes are in a clip, without times.

balanced_train_segments.csv, unbalanced_train_segments.csv, eval_segments.csv
  three comment lines, then YTID, start, end, "MID,MID,..."
class_labels_indices.csv or ontology.json (optional)
  names of classes; without, those of the 527 classes are known
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.sources import label_names, listed
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import audioset, label_list

_DATASETS = {
  "balanced_train_segments": ("as_20k", "train"),
  "unbalanced_train_segments": ("as_2m", "train"),
  "eval_segments": ("as_eval", "eval"),
}
"""Data set and split, by the name of the table."""


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips of a segments file.

  Args:
    paths: The segments file, and names of classes.
    dataset: What to call it; empty for its own name.

  Raises:
    EvaluateError: A file is damaged; names the line.
  """
  segments, *names = paths
  labels = label_list.read("audioset")
  if names:
    labels = dataclasses.replace(labels, names=label_names.read(names[0]))
  own, split = _DATASETS.get(segments.stem, ("audioset", ""))
  clips = audioset.clips(segments, labels, "")
  return listed.labelled(clips, dataset or own, split)
