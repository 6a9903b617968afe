"""The table of the LTU paper: its rows in their order, its numbers."""

import dataclasses
from collections.abc import Mapping

from ltu_jax.evaluate.sets import catalog

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

PROTOCOL = "published"
"""How the published numbers of classification were scored."""

OPEN_ENDED = (
  "The paper has one number for open-ended questions; of which of the two"
  " files is not known."
)

ABLATIONS = (
  "The paper's mean of LTU-7B without the curriculum is 23.0, after stages 1 to"
  " 3 alone 37.1, without open-ended data 47.3."
)


_AVERAGED = (
  *("esc50", "dcase2017", "vocalsound", "tut2017", "beijing_opera"),
  *("vggsound", "fsd50k", "audioset"),
)

_OTHERS = ("audiocaps", "clotho", "open_gpt3", "open_gpt4")


def _row(name: str) -> Row:
  """The row of a set."""
  spec = catalog.SETS[name]
  return Row(name, spec.title, spec.metric, spec.published, name in _AVERAGED)


ROWS = (
  *map(_row, _AVERAGED),
  Row(
    *(MEAN, "Mean of classification", "mean"),
    dict(zip(MODELS, (50.3, 48.9), strict=True)),
  ),
  *map(_row, _OTHERS),
)
"""The sets of the paper; others follow in a report in the order of their
names."""
