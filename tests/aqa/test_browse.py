"""The page to browse: which clips are on it, and what it holds."""

import base64
import hashlib
import itertools
import json
import random

import html5lib
import pytest

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality import browse as browse_lib
from ltu_jax.aqa.quality.browse import Choice, browse
from ltu_jax.aqa.quality.sampling import Sampler
from ltu_jax.evaluate.errors import EvaluateError
from made_up_answers import OPEN, qa, write
from tfds_builders.openaqa.full.entries import Entry
from wav_bytes import wav

HOSTILE = (
  "<script>window.ran = 1</script>",
  "</style></script><img src=x onerror='window.ran = 2'>",
  "\"' onmouseover='window.ran = 3' x=\"",
  "{{ 7 * 7 }} {% raw %} &lt;b&gt; &amp;",
)


def entries(count, clips, seed=0):
  made = [
    Entry(f"c{i % clips}.wav", f"Q {i}?", "", "A", OPEN, "s")
    for i in range(count)
  ]
  random.Random(seed).shuffle(made)
  return made


def sample(made, number, seed):
  sampler = Sampler(number, seed)
  for entry in made:
    sampler.add(entry, ())
  return sampler.clips()


def test_clips_are_whole_whatever_the_order():
  made = entries(600, 100)
  want = {clip.audio_id for clip in sample(made, 7, 0)}
  assert len(want) == 7
  for seed in range(5):
    clips = sample(entries(600, 100, seed), 7, 0)
    assert {clip.audio_id for clip in clips} == want
    for clip in clips:
      asked = {e.instruction for e, _ in clip.questions}
      assert asked == {
        e.instruction for e in made if e.audio_id == clip.audio_id
      }
      assert len(asked) == 6
  assert {clip.audio_id for clip in sample(made, 7, 1)} != want
  assert len(sample(made, 1000, 0)) == 100


def test_every_clip_is_as_likely():
  made = entries(20, 20)
  counts = dict.fromkeys((e.audio_id for e in made), 0)
  for seed in range(400):
    for clip in sample(made, 5, seed):
      counts[clip.audio_id] += 1
  # 400 draws of a quarter: 100, with a deviation of 8.7; four of them.
  assert all(65 < count < 135 for count in counts.values())


def test_many_questions_of_a_clip_are_counted():
  (clip,) = sample(entries(250, 1), 3, 0)
  assert len(clip.questions) == 100 and clip.left_out == 150


@pytest.fixture
def file(tmp_path):
  (tmp_path / "sounds" / "deep").mkdir(parents=True)
  for name in ("a", "b"):
    (tmp_path / "sounds" / "deep" / f"{name}.wav").write_bytes(wav(0.3))
  (tmp_path / "sounds" / "c.wav").write_bytes(b"no sound")
  return write(
    tmp_path / "questions.json",
    [
      qa("How large is the dog?", "Large, as its bark is deep."),
      qa("When does it bark?", "[0.0s-1.2s]", task="temporal_single"),
      qa("What is it?", "It cannot be told.", audio_id="d/b.flac", dataset="x"),
      qa(HOSTILE[0], HOSTILE[1], audio_id="d/c.flac", dataset=HOSTILE[2]),
      qa("Is it near?", HOSTILE[3], audio_id=f"d/{HOSTILE[2]}", task="<b>"),
    ],
  )


def text(element):
  return " ".join("".join(element.itertext()).split())


def parse(path):
  parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
  return parser.parse(path.read_text(encoding="utf-8"))


def clips(page):
  return [x for x in page.iter("li") if "clip" in x.get("class", "").split()]


def test_the_page_shows_clips_with_all_there_is(file, tmp_path):
  records = tmp_path / "records.jsonl"
  lines = [
    {"id": "a", "events": [{"label": "Bark", "spans": [[0, 1.2]]}]},
    {"id": "z", "captions": ["Of no clip here."]},
  ]
  records.write_text("".join(json.dumps(x) + "\n" for x in lines))
  out = browse(
    file, tmp_path / "new" / "page.html", [tmp_path / "sounds"], records
  )
  page = parse(out)
  a, b, c, d = clips(page)
  assert text(a.find("h3")) == "aas_strong_train"
  assert "Sound Events: Sound of Bark: [0.0s-1.2s]" in text(a)
  assert len(a.findall(".//audio")) == len(a.findall(".//img")) == 1
  assert text(b).count("unanswerable: cannot") == 1
  assert "No sound: " in text(c) and c.find(".//audio") is None
  assert "No sound: no file has this name." in text(d)
  assert [len(x.findall(".//ol/li")) for x in (a, b, c, d)] == [2, 1, 1, 1]
  for hostile, clip in zip(HOSTILE, (c, c, c, d), strict=True):
    assert " ".join(hostile.split()) in text(clip)
  flags = [x.get("data-flags") for x in page.iter("li") if x.get("data-flags")]
  assert flags[0] == "unanswerable"


def test_the_page_is_well_formed_and_alone(file, tmp_path):
  page = parse(browse(file, tmp_path / "p.html", [tmp_path / "sounds"]))
  elements = list(page.iter())
  (script,) = page.iter("script")
  (style,) = page.iter("style")
  digest = lambda x: base64.b64encode(
    hashlib.sha256(x.text.encode()).digest()
  ).decode()
  (policy,) = [
    x.get("content") for x in page.iter("meta") if x.get("http-equiv")
  ]
  assert policy == (
    f"default-src 'none'; style-src 'sha256-{digest(style)}'; script-src"
    f" 'sha256-{digest(script)}'; img-src data:; media-src data:; base-uri"
    " 'none'; form-action 'none'"
  )
  levels = [int(x.tag[1]) for x in elements if x.tag in ("h1", "h2", "h3")]
  assert levels[0] == 1 and levels.count(1) == 1
  assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
  for element in elements:
    names = set(element.attrib)
    assert not [n for n in names if n == "style" or n.startswith("on")]
    for name in ("src", "href"):
      assert element.get(name, "#").startswith(("data:", "#"))


def test_what_is_shown_can_be_chosen(file, tmp_path):
  shown = lambda choice: [
    text(x)
    for x in parse(browse(file, tmp_path / "p.html", choice=choice)).iter("p")
    if x.get("class") == "ask"
  ]
  assert len(shown(Choice())) == 5
  assert shown(Choice(tasks=["temporal_single"])) == ["When does it bark?"]
  assert shown(Choice(datasets=["x"])) == ["What is it?"]
  assert shown(Choice(flags=["unanswerable", "leak"])) == ["What is it?"]
  assert len(shown(Choice(clips=2))) in (2, 3)
  with pytest.raises(AqaError, match="no gate 'leaks'"):
    shown(Choice(flags=["leaks"]))
  with pytest.raises(AqaError, match="there is no question to show"):
    shown(Choice(tasks=["none"]))


def test_the_page_keeps_its_size(tmp_path, monkeypatch):
  long = "word " * 350
  rows = [
    qa(f"{i}?", long, audio_id=f"{i}.wav") for i in range(40) for _ in "123"
  ]
  for i in range(40):
    (tmp_path / f"{i}.wav").write_bytes(wav(0.5))
  file, out = write(tmp_path / "q.json", rows), tmp_path / "p.html"
  browse(file, out, [tmp_path])
  assert len(clips(parse(out))) == 40
  whole = out.stat().st_size
  monkeypatch.setattr(browse_lib, "PAGE_BYTES", 250_000)
  browse(file, out, [tmp_path])
  page = parse(out)
  assert out.stat().st_size < 252_000 < whole
  assert len(clips(page)) == 10
  assert "30 more clips have so much text" in text(page.find("body"))
  assert 0 < len(list(page.iter("audio"))) <= 10


def test_mistakes_are_told(file, tmp_path):
  with pytest.raises(AqaError, match="is no folder"):
    browse(file, tmp_path / "p.html", [tmp_path / "none"])
  with pytest.raises(AqaError, match="no such file"):
    browse(tmp_path / "none.json", tmp_path / "p.html")
  (tmp_path / "records.jsonl").write_text('{"id": "a"}\n')
  with pytest.raises(EvaluateError, match="line 1"):
    browse(file, tmp_path / "p.html", records=tmp_path / "records.jsonl")
  (tmp_path / "file").write_text("")
  with pytest.raises(AqaError, match="cannot be written"):
    browse(file, tmp_path / "file" / "p.html")
