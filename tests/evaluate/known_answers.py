"""An evaluator whose answers are given: what scoring makes of them; no test."""

import dataclasses
import pathlib

import numpy as np

from ltu_jax.answers.likelihood import Scores
from ltu_jax.evaluate import controls
from ltu_jax.evaluate.asked import Replies
from ltu_jax.evaluate.sets.spec import CAPTIONS, CHOICE, ORDER
from ltu_jax.evaluate.settings import Settings


class Known:
  """Answers all items by a rule, as `Evaluator` does by a model.

  Attributes:
    answer: From (spec, item as it is heard, labels) to the labels, captions or
      choice that are meant.
  """

  judge = None

  def __init__(self, answer, embedder, labels=(), **settings):
    self.answer, self.labels = answer, labels
    self.embedder = lambda: embedder
    self.settings = Settings(**settings)
    self.out = pathlib.Path("nowhere")

  def ask(self, spec, items, name="", control=""):
    heard = self._heard(items, control)
    way = self.settings.way(spec)
    return [
      Replies(
        tuple(self._words(spec, name, item, n) for n in range(way.samples))
      )
      for item in heard
    ]

  def likelihoods(self, spec, items, answers, control=""):
    found = []
    for item in self._heard(items, control):
      meant = self.answer(spec, item, self.labels)
      total = np.array([label in meant for label in self.labels], "f4") - 9
      found.append(Scores(total, np.full(len(total), 2, "i4")))
    return found

  def _heard(self, items, control):
    """Items whose truth is that of what is heard."""
    if not control:
      return items
    heard = controls.heard_as(control, items, self.settings.seed)
    truths = {item.audio: item.truth for item in items}
    return [
      dataclasses.replace(item, truth=truths.get(item.audio, ()))
      for item in heard
    ]

  def _words(self, spec, name, item, sample):
    meant = self.answer(spec, item, self.labels)
    if spec.kind == ORDER:
      return "First " + ", then ".join(meant)
    if spec.kind == CHOICE:
      return choice_words(spec, item, meant[0])
    if spec.kind == CAPTIONS:
      return "Audio caption: " + meant[sample % len(meant)]
    if name == "labels" or not spec.question:
      return "Labels: " + "; ".join(meant)
    return "Audio caption: " + "; ".join(meant)


def choice_words(spec, item, meant):
  """A choice in words, as the set's owners read it."""
  if spec.name == "air_bench":
    return "ABCD"[item.choices.index(meant)]
  return meant
