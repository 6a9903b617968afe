"""The statistics of a file and their page, read by parsers of others."""

import json
from collections import Counter

import html5lib
import pytest
from markdown_it import MarkdownIt

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality import stats, stats_report
from made_up_answers import OPEN, qa, write

HOSTILE = (
  "</style></script><img src=x onerror=alert(2)> | # `x` $y$ <script>",
  "{{ 7 * 7 }} \x00\x1b[31m \u202e",
)


def rows():
  made = [
    qa(
      f"{['Why', 'What'][i % 2]} is number {i % 5}, and what of it?",
      f"It is the {i}th of {i * i} sounds that are heard" + " now" * (i % 7),
      audio_id=f"x/{i % 13}.flac",
      dataset=("as_strong_train", "clotho")[i % 3 == 0],
      task=(OPEN, "cla_label", "caption")[i % 4 % 3],
    )
    for i in range(120)
  ]
  return [
    *made,
    qa(HOSTILE[0], HOSTILE[1], dataset=HOSTILE[0], task=HOSTILE[0][:20]),
  ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp("stats")
  paths = [
    write(folder / "a.json", rows()[:70]),
    write(folder / "b <i>.json", [*rows()[70:], 3]),
  ]
  return stats_report.report(paths, folder / "new" / "out")


def text(element):
  return " ".join("".join(element.itertext()).split())


def parse(path):
  parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
  return parser.parse(path.read_text(encoding="utf-8"))


def test_numbers_are_those_of_plain_loops(made):
  numbers = made[2]
  assert [x.name for x in made] == ["index.html", "stats.md", "stats.json"]
  got = json.loads(numbers.read_text(encoding="utf-8"))
  all_ = rows()
  assert got["questions"] == len(all_) == sum(got["files"].values())
  assert got["left_out"]["not_an_object"]["count"] == 1
  assert got["clips"] == {"count": 14, "exact": True}
  want = Counter((row["dataset"], row["task"]) for row in all_)
  assert {
    (g["dataset"], g["task"]): g["questions"] for g in got["groups"]
  } == want
  for group in got["groups"]:
    assert group["share"] == group["questions"] / len(all_)
  opened = [r for r in all_ if not r["task"].startswith(("cla", "caption"))]
  one = got["classes"]["open-ended"]
  assert one["count"] == len(opened)
  assert got["classes"]["closed-ended"]["count"] == len(all_) - len(opened)
  asked = Counter(r["instruction"] for r in opened)
  assert one["frequent"] == [list(x) for x in asked.most_common(20)]
  assert one["questions"]["texts"]["distinct"] == len(asked)
  assert sum(one["types"].values()) == len(opened)
  assert one["types"]["why"] == sum(
    r["instruction"].startswith("Why") for r in opened
  )
  assert dict(one["openings"])["why is"] == one["types"]["why"]
  counts = one["questions"]["counts_by_words"]
  assert counts[7 + 1] == len(opened) - 1  # "why is number 3 and what of it"
  assert got["check"]["gates"]["same_overall"]["looked_at"] == len(opened)


def test_the_page_is_well_formed_and_says_the_same(made):
  page = parse(made[0])
  got = json.loads(made[2].read_text(encoding="utf-8"))
  elements = list(page.iter())
  assert not [x for x in elements if x.tag in ("script", "img", "iframe")]
  ids = [x.get("id") for x in elements if x.get("id")]
  assert len(set(ids)) == len(ids)
  for element in elements:
    names = set(element.attrib)
    assert not [n for n in names if n == "style" or n.startswith("on")]
    place = element.get("href", "data:")
    assert place == "data:," or place == "data:" or place[1:] in ids
    if element.tag == "svg" and not element.get("aria-hidden"):
      # What is drawn within another picture has its words.
      assert {"aria-label", "width"} & names
    if element.tag == "th":
      assert element.get("scope") in ("row", "col")
  shown = text(page.find("body"))
  assert f"{got['questions']} questions about 14 clips" in shown
  table = page.find(".//table")
  assert [[text(x) for x in line][:3] for line in table.find("tbody")] == [
    [
      " ".join(row["name"].split()),
      str(row["questions"]),
      f"{100 * row['share']:.1f}",
    ]
    for row in stats_report.by(got, "dataset")
  ]
  clean = HOSTILE[0].split()
  assert " ".join(clean) in shown
  assert len(page.findall(".//figure")) == 4


def test_markdown_has_the_tables(made):
  markdown = made[1].read_text(encoding="utf-8")
  rendered = MarkdownIt("commonmark").enable("table").render(markdown)
  body = html5lib.HTMLParser(namespaceHTMLElements=False).parse(rendered)
  tables = body.findall(".//table")
  # Source, task, both, types, diversity, frequent ones of both, gates.
  assert len(tables) == 8
  head, *lines = [[text(x) for x in row] for row in tables[0].iter("tr")]
  assert head == ["source", "questions", "%"]
  assert [line[0] for line in lines][-1] == " ".join(HOSTILE[0].split())
  assert not {x.tag for x in body.iter()} & {"script", "img", "i", "em"}


def test_many_sources_are_summed(tmp_path, monkeypatch):
  monkeypatch.setattr(stats, "_MOST_GROUPS", 5)
  path = write(tmp_path / "a.json", [qa(dataset=f"s{i}") for i in range(30)])
  got = stats.collect([path])
  assert len(got["groups"]) == 6
  assert {g["dataset"]: g["questions"] for g in got["groups"]}["others"] == 25


def test_mistakes_are_told(tmp_path):
  path = write(tmp_path / "a.json", [])
  with pytest.raises(AqaError, match="there is no question in it"):
    stats_report.report([path], tmp_path / "out")
  with pytest.raises(AqaError, match="given twice"):
    stats_report.report([path, path], tmp_path / "out")
  write(path, [qa()])
  (tmp_path / "file").write_text("")
  with pytest.raises(AqaError, match="cannot be written"):
    stats_report.report([path], tmp_path / "file")
