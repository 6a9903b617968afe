"""The table of the LTU paper: its rows in their order, its numbers."""

import dataclasses
from collections.abc import Mapping

EMBEDDER = "text-embedding-ada-002"
"""What the published numbers of classification compare texts with."""

MODELS = ("LTU-7B", "LTU-13B")


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table.

  Attributes:
    set: Name of the set; MEAN for the mean.
    title: For people.
    metric: What is measured.
    published: Percent by model.
    averaged: Whether the mean is over this set, too.
  """

  set: str
  title: str
  metric: str
  published: Mapping[str, float]
  averaged: bool = False


MEAN = "mean"
"""The row of the mean over the sets of classification."""

ABLATIONS = (
  "The paper's mean of LTU-7B without the curriculum is 23.0, after stages 1 to"
  " 3 alone 37.1, without open-ended data 47.3."
)


def _row(name, title, metric, small, large, averaged=False):
  """A row with the numbers of both models."""
  numbers = dict(zip(MODELS, (small, large), strict=True))
  return Row(name, title, metric, numbers, averaged)


ROWS = (
  _row("esc50", "ESC-50", "accuracy", 83.1, 83.6, True),
  _row("dcase2017", "DCASE 2017", "micro F1", 45.9, 44.7, True),
  _row("vocalsound", "VocalSound", "accuracy", 55.6, 64.2, True),
  _row("tut2017", "TUT 2017", "accuracy", 32.5, 31.0, True),
  _row("beijing_opera", "Beijing Opera", "accuracy", 69.9, 52.1, True),
  _row("vggsound", "VGGSound", "accuracy", 50.3, 50.7, True),
  _row("fsd50k", "FSD50K", "mAP", 46.3, 46.8, True),
  _row("audioset", "AudioSet", "mAP", 18.7, 17.9, True),
  _row(MEAN, "Mean of classification", "mean", 50.3, 48.9),
  _row("audiocaps", "AudioCaps", "SPICE", 17.0, 16.9),
  _row("clotho", "Clotho", "SPICE", 11.9, 12.1),
  _row("open_ended", "Open-ended", "instruction following", 96.9, 95.4),
)
"""The sets of the paper; others follow in a report in the order of their
names."""


def row_name(set_name: str) -> str:
  """The name of a set as the rows have it."""
  return set_name.replace("-", "_")
