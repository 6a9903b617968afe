"""The file of paraphrases, and errors in files like it."""

import string

import pytest

from ltu_jax.aqa import paraphrases


def test_every_section_can_be_asked_in_several_ways():
  sections = paraphrases.load()
  for name, lines in sections.items():
    assert len(lines) >= 2, name
    assert len(set(lines)) == len(lines), name


def test_canonical_question_is_among_the_label_questions():
  assert "What can be heard?" in paraphrases.load()["cla_label"]


def test_all_ways_of_a_section_name_the_same_sounds():
  for name, lines in paraphrases.load().items():
    fields = {
      frozenset(f for _, f, _, _ in string.Formatter().parse(line) if f)
      for line in lines
    }
    assert len(fields) == 1, name


def test_lines_before_a_section():
  with pytest.raises(ValueError, match="line 2: 'How' stands before any"):
    paraphrases.parse("# comment\nHow\n[a]\nWhy")


def test_empty_section():
  with pytest.raises(ValueError, match=r"section \[a\] has no line"):
    paraphrases.parse("[a]\n\n[b]\nWhy")


def test_choice_depends_on_clip_and_section_alone():
  first = [paraphrases.choose(f"clip {i}", "caption") for i in range(20)]
  again = [paraphrases.choose(f"clip {i}", "caption") for i in range(20)]
  assert first == again
  # All four ways come up in twenty clips but with probability 0.01.
  assert len({line for (line,) in first}) > 1
