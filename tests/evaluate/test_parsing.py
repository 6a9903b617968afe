"""Reading answers in the model's own words."""

import pytest

from ltu_jax.evaluate import parsing


@pytest.mark.parametrize(
  ("answer", "labels"),
  [
    ("Labels: Fire", {"fire"}),
    ("Labels: Fire; Tom drum", {"fire", "tom drum"}),
    ("labels:fire ;  tom   drum.", {"fire", "tom drum"}),
    ("Label: Fire.", {"fire"}),
    ("The labels are: Fire; Hi-hat", {"fire", "hi-hat"}),
    ("Fire", {"fire"}),
    ("Labels: Fire; Fire", {"fire"}),
    ("Labels: Fire\nBell", {"fire", "bell"}),
    (
      "Labels with acoustic features: Sharp and rattling -> Bell; Low -> Fire",
      {"bell", "fire"},
    ),
    # A comma is part of the label, as in AudioSet.
    (
      "Labels: Male speech, man speaking; Dog",
      {"male speech, man speaking"} | {"dog"},
    ),
    ("Labels:", set()),
    ("Labels: ; .", set()),
    ("", set()),
    # More words are another label, not the right one.
    ("Labels: Fire and Bell", {"fire and bell"}),
  ],
)
def test_labels(answer, labels):
  assert parsing.labels(answer) == labels


@pytest.mark.parametrize(
  ("answer", "order"),
  [
    ("First Fire, then Tom drum", ("fire", "tom drum")),
    ("First Fire, then Bell, then Dog", ("fire", "bell", "dog")),
    ("first fire then bell.", ("fire", "bell")),
    ("Fire, followed by Bell, and then Dog.", ("fire", "bell", "dog")),
    ("First, Fire; then Bell; finally, Dog", ("fire", "bell", "dog")),
    (
      "First Male speech, man speaking, then Dog",
      ("male speech, man speaking", "dog"),
    ),
    # Not to be cut within a word.
    ("First Strengthening, then Bell", ("strengthening", "bell")),
    ("First First aid, then Bell", ("first aid", "bell")),
    ("First Fire", ("fire",)),
    ("First Fire, then Fire", ("fire", "fire")),
    ("First Fire, then", ("fire",)),
    ("", ()),
  ],
)
def test_order(answer, order):
  assert parsing.order(answer) == order
