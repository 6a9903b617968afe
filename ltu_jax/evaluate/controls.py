"""What an answer is worth that was given without hearing the right clip.

Asked without a clip, a model can only guess from the words of the question;
with another item's clip, it says what is right by chance. A score that stays
under either is no hearing.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ltu_jax.evaluate.sets.spec import Item

NAMES = {"silent": "without audio", "shuffled": "another item's audio"}
"""The controls, and how a result calls them."""


def silent(items: Sequence[Item]) -> list[Item]:
  """The items without their clips."""
  return [
    dataclasses.replace(item, audio="", path=None, read=None) for item in items
  ]


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
  """The items, each with the clip of another one.

  The clips go around in a circle of random order, so that none stays and each
  is heard once.

  Args:
    items: At least two; a single one keeps its clip.
    seed: Of the order.
  """
  order = np.random.default_rng(seed).permutation(len(items))
  other = {
    int(a): int(b) for a, b in zip(order, np.roll(order, 1), strict=True)
  }
  return [
    dataclasses.replace(
      item,
      audio=items[other[n]].audio,
      path=items[other[n]].path,
      read=items[other[n]].read,
    )
    for n, item in enumerate(items)
  ]


def heard_as(name: str, items: Sequence[Item], seed: int) -> list[Item]:
  """The items under a control.

  Args:
    name: "silent", "shuffled", or "" for no control.
    items: The items.
    seed: Of the order.
  """
  if name == "silent":
    return silent(items)
  return shuffled(items, seed) if name else list(items)
