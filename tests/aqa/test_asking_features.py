"""Acoustic features of labels, over real HTTP."""

import pytest

import ask_command
import http_script
from ltu_jax.aqa import features as tables
from ltu_jax.aqa.asking import features
from ltu_jax.aqa.errors import AqaError


@pytest.mark.parametrize(
  ("reply", "phrase"),
  [
    # As they are in OpenAQA's records.
    ("Loud and metallic", "Loud and metallic"),
    ("Semi-musical and reverberant", "Semi-musical and reverberant"),
    (
      "A low-pitched, rhythmic, wet popping sensation",
      "A low-pitched, rhythmic, wet popping sensation",
    ),
    ('Melodic and "full-bodied"', 'Melodic and "full-bodied"'),
    # As models write them.
    ('"loud and metallic."', "Loud and metallic"),
    ("**Acoustic features:** *Dull, short*", "Dull, short"),
    ("```\n- Deep  and\u00a0full\n```", "Deep and full"),
    ("<think>A horn is loud.</think>\nLoud", "Loud"),
  ],
)
def test_phrases(reply, phrase):
  assert features.read(reply, "Car horn") == phrase


@pytest.mark.parametrize(
  "reply",
  [
    "",
    "<think>A horn",
    "Loud\nShrill",
    "I cannot hear sounds.",
    "Sure! Loud",
    "Car horn",
    "The horn is loud",
    "Loud; shrill",
    "Loud (and shrill)",
    "Loud -> shrill",
    "Loud: [0.0s-1.0s]",
    "440 Hz",
    "Loud. Shrill.",
    "Loud, " * 12 + "shrill",
    "Lou" + "d" * 100,
  ],
)
def test_what_is_no_phrase(reply):
  assert features.read(reply, "Car horn") is None


SAID = {
  "Dog": ("Sharp and loud.",),
  "Music": ("I am a language model; it depends.",),
  "Fire": ("Dry and", "length"),
  "Car, horn": ('"blaring, harsh"',),
  "Owl": ("Soft and low",),
}


def say(request):
  content = request.body["messages"][-1]["content"]
  (label,) = [label for label in SAID if f"sound: {label}?" in content]
  return http_script.says(*SAID[label])


def test_rows_are_added_once(tmp_path, capsys):
  labels, out = tmp_path / "labels.txt", tmp_path / "features.tsv"
  labels.write_text("Dog\nMusic\n\nFire\nRain\nCar, horn\nDog\n")
  out.write_text("label\tfeature\nRain\tBy hand; (so)\nSnow\tNone\n")
  with http_script.serving(answer=say) as server:
    flags = [f"--labels={labels}", f"--out={out}", "--model=m"]
    flags += [f"--base_url={server.url}"]
    assert ask_command.run("features", *flags) == 1
    told = capsys.readouterr().err
    assert "Music: no short phrase" in told and "it depends" in told
    assert "Fire: no short phrase" in told and "2 labels have no" in told
    first = out.read_text()
    assert first == (
      "label\tfeature\nRain\tBy hand; (so)\nSnow\tNone\n"
      "Dog\tSharp and loud\nCar, horn\tBlaring, harsh\n"
    )
    assert len(server.requests) == 4
    # Again nobody is asked, nor with a label more about those before.
    assert ask_command.run("features", *flags) == 1
    assert out.read_text() == first and len(server.requests) == 4
    labels.write_text("Dog\nOwl\n")
    assert ask_command.run("features", *flags) == 0
    assert len(server.requests) == 5
  # As the command `make` reads it.
  assert tables.read(out)["owl"] == ("Soft and low",)
  assert tables.read(out)["rain"] == ("By hand; (so)",)


def test_files_that_are_none(tmp_path):
  labels, out = tmp_path / "labels.txt", tmp_path / "features.tsv"
  flags = [f"--labels={labels}", f"--out={out}", "--model=m"]
  for text, match in (
    (None, "cannot be read"),
    (b"\n\n", "no label"),
    (b"Dog\tSharp\n", "line 1: a tab"),
    (b"\xff\xfe\n", "UTF-8"),
  ):
    if text is not None:
      labels.write_bytes(text)
    with pytest.raises(AqaError, match=match):
      ask_command.run("features", *flags)
  labels.write_text("Dog\n")
  out.write_text("label\tfeature\tcue\nDog\tSharp\tbark\n")
  with pytest.raises(AqaError, match="columns label, feature, cue"):
    ask_command.run("features", *flags)
