"""Captions of tests: random ones, and cases that metrics trip over."""

import random

_TEXT = (
  "a the dog cat man woman engine wind rain barks barking speaks talking runs "
  "hums humming loudly softly while and then in with of background distance "
  "birds chirp bell rings twice café naïve 日本語 ½ 10 can not"
)


_WORDS = _TEXT.split()


def caption(rng: random.Random, least: int = 0, most: int = 12) -> str:
  """Tokens with spaces between; few words, so that runs repeat."""
  return " ".join(rng.choices(_WORDS, k=rng.randint(least, most)))


def corpus(
  seed: int, items: int, references: int, least: int = 0
) -> tuple[list[str], list[list[str]]]:
  """Answers and references; half of the answers are near a reference."""
  rng = random.Random(seed)
  answers, all_references = [], []
  for _ in range(items):
    clip = [caption(rng, max(1, least)) for _ in range(references)]
    words = rng.choice(clip).split()
    if rng.random() < 0.5:
      words = caption(rng, least).split()
    elif rng.random() < 0.7:
      words[rng.randrange(len(words))] = rng.choice(_WORDS)
    answers.append(" ".join(words))
    all_references.append(clip)
  return answers, all_references


EDGES = {
  "one item": (["a dog barks"], [["a dog barks", "the dog is barking"]]),
  "one word": (["dog", "cat", "rain"], [["dog"], ["dog"], ["rain", "wind"]]),
  "empty answer": (["", "a dog"], [["a dog barks"], ["a dog"]]),
  "all answers empty": (["", ""], [["a dog barks"], ["a cat"]]),
  "an empty reference": (["a dog", ""], [["", "a dog barks"], ["", "a cat"]]),
  "only empty references": (["a", ""], [[""], ["a cat"]]),
  "duplicates": (
    ["a dog barks"] * 3,
    [["a dog barks"] * 5, ["a dog barks"], ["the cat", "the cat"]],
  ),
  "repeated words": (
    ["the the the the the the the", "dog dog", "a a b b a a b b"],
    [["the cat is on the mat"], ["dog dog dog"], ["a a b", "b b a a"]],
  ),
  "equally close": (
    ["a b c d", "a b c"],
    [["a b c", "a b c d e"], ["a b c d", "a b"]],
  ),
  "unicode": (
    ["café ½ 日本語", "naïve 😀", "e\u0301"],
    [["café 日本語"], ["naïve 😀 😀"], ["\u00e9"]],
  ),
  "long": (["a b c " * 60, "d"], [["c b a " * 40, "a b c"], ["d e"]]),
}
"""Answers and references by name."""
EDGES["long"] = (
  [text.strip() for text in EDGES["long"][0]],
  [[text.strip() for text in clip] for clip in EDGES["long"][1]],
)
