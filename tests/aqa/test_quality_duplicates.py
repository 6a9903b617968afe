"""Equal and nearly equal questions, against comparing each with each."""

import random

import numpy as np
import pytest

from ltu_jax.aqa.quality import shingles
from ltu_jax.aqa.quality.digests import DigestMap, digest
from ltu_jax.aqa.quality.duplicates import Duplicates

NEAR = 0.6


def made_up(count=900, clips=9):
  """Clips and questions: new ones, and old ones with a word or two changed."""
  rng = random.Random(0)
  # Few words, so that chance alone makes questions that are somewhat alike.
  vocabulary = [f"w{i}" for i in range(60)]
  made, rows = [], []
  for _ in range(count):
    if made and rng.random() < 0.6:
      changed = list(rng.choice(made))
      for _ in range(rng.randrange(4)):
        changed[rng.randrange(len(changed))] = rng.choice(vocabulary)
    else:
      changed = rng.choices(vocabulary, k=rng.randint(5, 16))
    made.append(changed)
    # The same words in other dress.
    text = rng.choice((" ", ", ", "  ")).join(changed)
    text = rng.choice((text, text.upper(), f"{text}?"))
    rows.append((f"clip {rng.randrange(clips)}", text, tuple(changed)))
  return rows


def pairs(words):
  """Neighbouring words with marks at the ends."""
  return set(zip(("<", *words), (*words, ">"), strict=True))


def alike(first, second):
  """Jaccard index of two questions."""
  return len(pairs(first) & pairs(second)) / len(pairs(first) | pairs(second))


def by_force(rows):
  """What each question's flags have to be."""
  whole, alone, of_clip, first, want = set(), set(), {}, [], []
  for clip, _, words in rows:
    flags = set()
    near_in_clip = any(
      alike(words, old) >= NEAR for old in of_clip.get(clip, ())
    )
    near = near_in_clip or any(alike(words, old) >= NEAR for old in first)
    if (clip, words) in whole:
      flags.add("same_in_clip")
    elif near_in_clip:
      flags.add("near_in_clip")
    if words in alone:
      flags.add("same_overall")
    elif near:
      flags.add("near_overall")
    whole.add((clip, words))
    alone.add(words)
    if not near_in_clip:
      of_clip.setdefault(clip, []).append(words)
    if not near:
      first.append(words)
    want.append(flags)
  return want


def flags(duplicates, rows):
  return [
    {flag.gate for flag in duplicates.flags(clip, text)}
    for clip, text, _ in rows
  ]


def test_flags_are_those_of_comparing_each_with_each():
  rows = made_up()
  want = by_force(rows)
  for gate in ("same_in_clip", "near_in_clip", "same_overall", "near_overall"):
    # Enough of each, and not of all, for the test to tell something.
    assert 15 < sum(gate in one for one in want) < 600
  for seed in (0, 1):
    got = flags(Duplicates(NEAR, num_bytes=400 * len(rows), seed=seed), rows)
    # MinHash may miss one pair in a hundred at 0.6 itself, and hardly any
    # above; what is found is compared exactly. All other gates are exact.
    wrong = [(g, w) for g, w in zip(got, want, strict=True) if g != w]
    assert len(wrong) <= 0.002 * len(rows)
    for gate in ("same_in_clip", "near_in_clip", "same_overall"):
      assert [gate in g for g in got] == [gate in w for w in want]


def test_the_same_seed_finds_the_same():
  rows = made_up(300)
  first, second = (flags(Duplicates(NEAR, seed=3), rows) for _ in range(2))
  assert first == second


def test_what_is_dropped_does_not_stand_in_the_way():
  duplicates = Duplicates()
  ask = lambda *args, **kwargs: {
    flag.gate for flag in duplicates.flags(*args, **kwargs)
  }
  question = "What is the mood of the man who speaks in the clip?"
  assert ask("a", question, remember=False) == set()
  assert ask("a", question) == set()
  assert ask("b", question, drop=["same_overall"]) == {"same_overall"}
  # It was not kept, and so this is the first of clip b.
  assert ask("b", question) == {"same_overall"}
  assert ask("b", question) == {"same_overall", "same_in_clip"}


def test_questions_without_words_are_compared_too():
  duplicates = Duplicates()
  assert duplicates.flags("a", "?!") == []
  assert next(x.gate for x in duplicates.flags("a", "?!")) == "same_in_clip"
  assert duplicates.flags("a", "!?") == []


def test_memory_is_bounded_and_what_is_forgotten_counted():
  rows = [("a", f"question {i} of many {i} words {i}?", ()) for i in range(50)]
  duplicates = Duplicates(most=30)
  assert not any(flags(duplicates, rows))
  assert duplicates.forgotten == 20
  assert flags(duplicates, rows[:30]) == [{"same_in_clip", "same_overall"}] * 30
  assert not any(flags(duplicates, rows[30:]))


def test_jaccard_of_shingles_is_that_of_pairs_of_words():
  rng = random.Random(1)
  for _ in range(300):
    first, second = (rng.choices("abcdef", k=rng.randint(1, 9)) for _ in "12")
    sets = [shingles.shingles(" ".join(x)) for x in (first, second)]
    # Digests of 32 bits: two of a hundred pairs are equal once in a million.
    assert shingles.jaccard(*sets) == alike(first, second)


@pytest.mark.parametrize("least", [0.5, 0.7, 0.9])
def test_min_hash_finds_as_many_as_the_formula_says(least):
  rng = np.random.default_rng(0)
  store = shingles.Store()
  index = shingles.NearIndex(store, 1 << 12, seed=0)
  found = []
  for _ in range(300):
    whole = rng.choice(1 << 32, 200, replace=False).tolist()
    # Two sets of n that share k have the Jaccard index k / (2 n - k).
    size, shared = 40, round(80 * least / (1 + least))
    first = frozenset(whole[:size])
    second = frozenset(whole[size - shared : 2 * size - shared])
    exact = shingles.jaccard(first, second)
    _, slots = index.find(first, 1)
    index.add(store.add(first), slots)
    found.append(index.find(second, exact)[0])
    assert not index.find(second, exact + 0.01)[0]
  chance = 1 - (1 - exact**shingles.ROWS) ** shingles.BANDS
  # Four standard deviations of 300 draws, and some slots that were taken.
  slack = 4 * (chance * (1 - chance) / 300) ** 0.5 + 0.01
  assert np.mean(found) == pytest.approx(chance, abs=slack)


def test_the_map_is_a_map():
  rng = random.Random(0)
  # Few low bits, so that keys want the same slots.
  keys = [digest(str(i)) & ~0xF0 | 1 for i in range(700)]
  ours, want = DigestMap(), {}
  for _ in range(4000):
    key, value = rng.choice(keys), rng.randrange(1 << 32)
    assert ours.get(key) == want.get(key) and (key in ours) == (key in want)
    ours.put(key, value)
    want[key] = value
  assert len(ours) == len(want)
  assert all(ours.get(key) == value for key, value in want.items())
  assert digest("ab", "c") != digest("a", "bc")
