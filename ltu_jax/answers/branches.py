"""Answers that begin alike, as trees of tokens that are read once each.

Answers in the order of their tokens, each without what it shares with the one
before it, are a tree whose tokens lie one branch after the other: what follows
a token in the tree is the stretch of slots after it, up to its `end`.

Letters: S slots of a tree, C answers in it, N tokens of the longest.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ltu_jax.padding import bucket


@dataclasses.dataclass(frozen=True)
class Tree:
  """Some answers to one prompt, without their end tokens.

  A place is 0 for the prompt's last token, or 1 + a slot.

  Attributes:
    tokens: int32 [S], 0 in slots that nothing is in.
    parent: int32 [S], the place of what a token comes after.
    depth: int32 [S], how many tokens of its answer come before it.
    end: int32 [S], the last slot that comes after it; its own if none does.
    answers: int32 [C], numbers of the answers.
    paths: int32 [C, N], the slots of each; S after its last.
    last: int32 [C], the place that its end token comes after.
  """

  tokens: np.ndarray
  parent: np.ndarray
  depth: np.ndarray
  end: np.ndarray
  answers: np.ndarray
  paths: np.ndarray
  last: np.ndarray

  def totals(self, tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums what the tokens of each answer and its end token have.

    Args:
      tokens: float32 [S], of each slot's token.
      ends: float32 [1 + S], of an end token after each place.

    Returns:
      float64 [C].
    """
    along = np.append(tokens.astype(np.float64), 0)[self.paths].sum(axis=1)
    return along + ends[self.last]


def num_slots(answers: Sequence[Sequence[int]], most: int) -> int:
  """S for some answers: one tree, unless that takes more than `most` slots.

  An answer that is longer than `most` gets what it needs.
  """
  longest = max(map(len, answers))
  groups = _groups(answers, sum(map(len, answers)))
  whole = sum(new for group in groups for _, new in group)
  return min(bucket(max(whole, 1)), max(most, bucket(max(longest, 1))))


def trees(answers: Sequence[Sequence[int]], slots: int) -> list[Tree]:
  """Puts answers into trees.

  Args:
    answers: The tokens of each, none more than `slots`.
    slots: S.
  """
  return [
    _tree(answers, [number for number, _ in group], slots)
    for group in _groups(answers, slots)
  ]


def empty(slots: int) -> Tree:
  """A tree of no answers."""
  return _tree([], [], slots)


def common(a: Sequence[int], b: Sequence[int]) -> int:
  """How many leading tokens are equal."""
  for index, (x, y) in enumerate(zip(a, b, strict=False)):
    if x != y:
      return index
  return min(len(a), len(b))


def _groups(
  answers: Sequence[Sequence[int]], slots: int
) -> list[list[tuple[int, int]]]:
  """(number of an answer, slots that it adds), for each tree."""
  groups: list[list[tuple[int, int]]] = []
  used, before = 0, ()
  for number in sorted(range(len(answers)), key=lambda n: tuple(answers[n])):
    tokens = answers[number]
    new = len(tokens) - common(before, tokens)
    if not groups or used + new > slots:
      groups.append([])
      used, new = 0, len(tokens)
    groups[-1].append((number, new))
    used, before = used + new, tokens
  return groups


def _tree(
  answers: Sequence[Sequence[int]], numbers: Sequence[int], slots: int
) -> Tree:
  """One tree of the answers of these numbers, which are in order."""
  tokens, parent, depth = np.zeros((3, slots), np.int32)
  longest = max((len(answers[n]) for n in numbers), default=0)
  paths = np.full((len(numbers), longest), slots, np.int32)
  path: list[int] = []
  used, before = 0, ()
  for index, number in enumerate(numbers):
    answer = answers[number]
    del path[common(before, answer) :]
    for token in answer[len(path) :]:
      tokens[used], depth[used] = token, len(path)
      parent[used] = path[-1] + 1 if path else 0
      path.append(used)
      used += 1
    paths[index, : len(path)] = path
    before = answer
  end = np.arange(slots, dtype=np.int32)
  for slot in reversed(range(used)):
    if parent[slot]:
      end[parent[slot] - 1] = max(end[parent[slot] - 1], end[slot])
  lengths = np.array([len(answers[n]) for n in numbers], np.int32)
  ends = paths[np.arange(len(numbers)), lengths - 1] if longest else lengths
  return Tree(
    tokens=tokens,
    parent=parent,
    depth=depth,
    end=end,
    answers=np.array(numbers, np.int32),
    paths=paths,
    last=np.where(lengths > 0, ends + 1, 0).astype(np.int32),
  )
