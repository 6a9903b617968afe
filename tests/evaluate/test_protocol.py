import numpy as np
import pytest

from ltu_jax.evaluate import protocol
from ltu_jax.evaluate.embeddings import choose
from made_up_embedder import MadeUpEmbedder, vector

# Sums of a few float32 products of numbers up to 1.
ROUNDING = 1e-6

ONE_LABEL = ["vocalsound", "dcase2017", "tut2017", "beijing_opera"]
ESC50 = ["esc50", "mini"]
HEADED = ["audioset", "fsd50k", "vggsound"]
SETS = ONE_LABEL + ESC50 + HEADED


def test_rules_are_the_published_ones():
  rules = {name: protocol.rule_of(name) for name in SETS}
  accu = {"audioset", "fsd50k", "esc50", "mini"}
  assert {name for name, rule in rules.items() if rule == "accu"} == accu
  assert set(rules.values()) == {"accu", "max"}


@pytest.mark.parametrize(
  ("names", "answer", "text"),
  [
    (HEADED, "Audio caption: A Dog barks.", "a dog barks."),
    (HEADED, 'Audio caption: "A \u00c9cole: loud"', "a \u00e9cole: loud"),
    (HEADED, "Audio caption: A. Audio caption: B", "b"),
    # Without the head, two characters are lost.
    (HEADED, "A dog barks", "dog barks"),
    (HEADED, '"A dog barks"', "dog barks"),
    (HEADED, "audio caption: A dog", "dio caption: a dog"),
    (HEADED, "Audio caption", ""),
    (HEADED, "X", ""),
    (ESC50, "Audio caption: A Dog barks.", "a dog barks."),
    (ESC50, "Audio caption:A dog: loud", "loud"),
    (ESC50, " \n A Dog", "a dog"),
    (ESC50, "A dog:", ""),
    (ESC50, 'Audio caption: "A dog"', '"a dog"'),
    (ONE_LABEL, "Audio caption: A Dog barks.", "a dog barks."),
    # One character is lost behind the colon, or at the start without one.
    (ONE_LABEL, "Audio caption:A dog", " dog"),
    (ONE_LABEL, "Audio caption:  A dog", " a dog"),
    (ONE_LABEL, "A dog", " dog"),
    (ONE_LABEL, "\u4e2d\u6587 \u0130", "\u6587 i\u0307"),
    (SETS, "", ""),
  ],
)
def test_captions(names, answer, text):
  for name in names:
    assert protocol.caption_texts(name, answer) == [f"sound of {text}"], name


@pytest.mark.parametrize(
  ("names", "answer", "texts"),
  [
    ([*ONE_LABEL, *ESC50, "vggsound"], "Labels: Dog; Bark", ["dog", "bark"]),
    (["audioset", "fsd50k"], "Labels: Dog; Bark", ["dog", "bark"]),
    ([*ONE_LABEL, *ESC50, "vggsound"], "Labels: Dog;Bark. No", ["dog", "bark"]),
    (["audioset", "fsd50k"], "Labels: Dog;Bark. No", ["dog;bark. no"]),
    # The one character behind the colon goes, whatever it is.
    ([*ONE_LABEL, *ESC50, "vggsound"], "Labels:Dog", ["og"]),
    (["audioset"], "Labels:Dog", ["dog"]),
    (["fsd50k"], "Labels:Dog", ["labels:dog"]),
    (["audioset", "fsd50k"], "Dog; ", ["dog", ""]),
    ([*ONE_LABEL, *ESC50, "vggsound"], "Dog; ", ["og", ""]),
    (["audioset", "fsd50k"], "L:  \u4e2d;  \u00c9", ["\u4e2d", "\u00e9"]),
    (SETS, "", [""]),
  ],
)
def test_labels(names, answer, texts):
  for name in names:
    expected = [f"sound of {text}" for text in texts]
    assert protocol.label_texts(name, answer) == expected, name


@pytest.mark.parametrize(
  ("name", "label", "text"),
  [
    ("audioset", "Male speech, man speaking", "male speech, man speaking"),
    ("fsd50k", "Chink_and_clink", "chink and clink"),
    ("fsd50k", "Chink and clink", "chink and clink"),
    ("esc50", "crackling_fire", "crackling fire"),
    ("mini", "footsteps", "footsteps"),
    ("dcase2017", "Ambulance (siren)", "ambulance (siren)"),
    ("tut2017", "cafe/restaurant", "cafe/restaurant"),
    ("beijing_opera", "Clapper-drum", "clapper-drum"),
    # Two spaces, as the published labels have them.
    ("vggsound", "bird chirping_ tweeting", "bird chirping,  tweeting"),
    ("vggsound", "bird chirping, tweeting", "bird chirping,  tweeting"),
  ],
)
def test_classes(name, label, text):
  assert protocol.class_texts(name, [label, "X"]) == [
    f"sound of {text}",
    "sound of x",
  ]


def by_loops(texts, classes, embed_one, rule):
  """The scores as the published protocol says them, one after the other."""
  scores = np.zeros((len(texts), len(classes)))
  for n, some in enumerate(texts):
    for text in some:
      a = embed_one(text).astype(float)
      for c, name in enumerate(classes):
        b = embed_one(name).astype(float)
        cosine = float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))
        if rule == "accu":
          scores[n, c] += cosine
        else:
          scores[n, c] = max(scores[n, c], cosine)
  return scores


@pytest.mark.parametrize("rule", ["accu", "max"])
def test_scores_are_those_of_plain_loops(rule):
  rng = np.random.default_rng(0)
  classes = [f"class {i}" for i in range(9)]
  pool = [*(f"text {i}" for i in range(20)), *classes]
  texts = [
    [pool[i] for i in rng.integers(0, len(pool), rng.integers(0, 4))]
    for _ in range(80)
  ]
  embed = MadeUpEmbedder()
  ours = protocol.class_scores(texts, classes, embed, rule)
  assert ours.dtype == np.float32
  theirs = by_loops(texts, classes, vector, rule)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)
  # Each text once, and both signs are there, so that the 0 of max is tried.
  assert len(embed.asked) == len(set(embed.asked))
  assert ((ours < 0).any(), (ours == 0).any()) == (rule == "accu", True)


def test_few_items_and_classes():
  embed = MadeUpEmbedder()
  assert protocol.class_scores([], ["a"], embed, "max").shape == (0, 1)
  assert protocol.class_scores([["a"]], [], embed, "max").shape == (1, 0)
  empty = protocol.class_scores([[], []], ["a"], embed, "accu")
  assert empty.tolist() == [[0.0], [0.0]]
  assert embed.asked == []
  with pytest.raises(ValueError, match="'sum'"):
    protocol.class_scores([["a"]], ["a"], embed, "sum")


@pytest.mark.parametrize("name", SETS)
def test_right_answers_score_one_and_constant_ones_chance(name):
  labels = ["Dog_bark", "Rain", "Sea, waves", "Door"]
  truth = np.arange(20) % 4
  classes = protocol.class_texts(name, labels)

  def said(answers):
    texts = [protocol.caption_texts(name, answer) for answer in answers]
    rule = protocol.rule_of(name)
    scores = protocol.class_scores(texts, classes, MadeUpEmbedder(), rule)
    return scores.argmax(axis=1)

  spoken = [text.removeprefix("sound of ") for text in classes]
  right = said([f"Audio caption: {spoken[k]}" for k in truth])
  assert (right == truth).all()
  constant = said(["Audio caption: It rains."] * 20)
  assert (constant == truth).mean() == 0.25


@pytest.mark.slow
def test_scores_with_the_real_model(tmp_path):
  embed = choose.embedder("minilm", tmp_path)
  labels = ["dog", "rain", "crackling_fire", "church_bells", "door_wood_knock"]
  answers = {
    "Audio caption: A dog is barking in the distance.": 0,
    "Audio caption: Heavy rain falls on a roof.": 1,
    "Audio caption: A campfire burns and pops.": 2,
    "Audio caption: Large bells ring from a tower.": 3,
    "Audio caption: Someone knocks at the door.": 4,
  }
  alone = {}

  def embed_one(text):
    if text not in alone:
      alone[text] = embed([text])[0]
    return alone[text]

  for name in ("esc50", "vocalsound", "vggsound"):
    classes = protocol.class_texts(name, labels)
    texts = [protocol.caption_texts(name, answer) for answer in answers]
    rule = protocol.rule_of(name)
    scores = protocol.class_scores(texts, classes, embed, rule)
    theirs = by_loops(texts, classes, embed_one, rule)
    np.testing.assert_allclose(scores, theirs, rtol=0, atol=ROUNDING)
    assert scores.argmax(axis=1).tolist() == list(answers.values())
