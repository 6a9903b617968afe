"""The report's three files, read by parsers that others wrote."""

import base64
import dataclasses
import functools
import hashlib
import io
import itertools
import re

import html5lib
import pandas
import pytest
from markdown_it import MarkdownIt

import made_up_results
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.page import paper
from ltu_jax.evaluate.page import report as report_module
from ltu_jax.evaluate.page.report import report
from wav_bytes import wav

MINUS = "\u2212"


@pytest.fixture(scope="module")
def one(tmp_path_factory):
  """The report of one checkpoint with all sets: its files."""
  root = tmp_path_factory.mktemp("one")
  folder = made_up_results.write(root / "a", made_up_results.all_sets())
  return report([folder], root / "report")


@pytest.fixture(scope="module")
def three_folders(tmp_path_factory):
  """Three checkpoints; two sets are missing from some."""
  root = tmp_path_factory.mktemp("three")
  names = {"stage 4": (0, ()), "stage 3": (-0.06, ("vggsound", "clotho"))}
  names["no curriculum"] = (-0.1, ("audioset",))
  return [
    made_up_results.write(
      root / name,
      (
        (made, items)
        for made, items in made_up_results.all_sets(name, better, seed, 6)
        if made.set not in without
      ),
    )
    for seed, (name, (better, without)) in enumerate(names.items())
  ]


@pytest.fixture(scope="module")
def three(three_folders, tmp_path_factory):
  return report(three_folders, tmp_path_factory.mktemp("three report"))


@functools.cache
def parse(path):
  """The page; a mistake in its HTML is an error."""
  parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
  return parser.parse(path.read_text(encoding="utf-8"))


def text(element):
  return " ".join("".join(element.itertext()).split())


def table_of(page, css_class):
  """Rows of the first table of a class, as text."""
  table = page.find(f".//table[@class='{css_class}']")
  return [[text(cell) for cell in row] for row in table.iter("tr")]


def test_three_files_are_written(one):
  assert [x.name for x in one] == ["index.html", "report.md", "table.csv"]
  assert sorted(one[0].parent.iterdir()) == sorted(one)


@pytest.mark.parametrize("which", ["one", "three"])
def test_the_page_is_well_formed_and_alone(which, request):
  page = parse(request.getfixturevalue(which)[0])
  elements = list(page.iter())
  assert not [x for x in elements if x.tag in ("script", "iframe", "form")]
  ids = [x.get("id") for x in elements if x.get("id")]
  assert len(set(ids)) == len(ids)
  for element in elements:
    # The style is allowed by its hash; style attributes would not be.
    names = set(element.attrib)
    assert not [n for n in names if n == "style" or n.startswith("on")]
    for name in ("src", "href"):
      place = element.get(name, "data:")
      assert place.startswith(("data:", "#")), place
      assert not place.startswith("#") or place[1:] in ids
    assert element.get("aria-labelledby", ids[0]) in ids


@pytest.mark.parametrize("which", ["one", "three"])
def test_the_page_can_be_read_without_seeing_it(which, request):
  page = parse(request.getfixturevalue(which)[0])
  assert page.get("lang") == "en" and page.find("head/title").text
  levels = [int(x.tag[1]) for x in page.iter() if re.match(r"h\d$", str(x.tag))]
  assert levels[0] == 1 and levels.count(1) == 1
  steps = itertools.pairwise(levels)
  assert all(after <= before + 1 for before, after in steps)
  for element in page.iter():
    if element.tag == "th":
      assert element.get("scope") in ("row", "col")
    if element.tag == "img":
      assert element.get("alt")
    if element.tag == "svg":
      assert element.get("aria-hidden") or element.get("aria-label")
    if element.tag == "table":
      assert element.find("thead") is not None
    if element.get("class") == "scroll":
      # Reached by Tab, as it may have to be scrolled by keys.
      assert element.get("tabindex") == "0" and element.get("role") == "region"


def test_the_policy_allows_the_style_and_nothing_from_elsewhere(one):
  page = parse(one[0])
  (policy,) = [
    x.get("content")
    for x in page.iter("meta")
    if x.get("http-equiv") == "Content-Security-Policy"
  ]
  style = page.find(".//style").text
  digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
  assert policy == (
    f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;"
    " media-src data:; base-uri 'none'; form-action 'none'"
  )


def test_the_table_has_the_papers_rows_and_numbers(one):
  head, *rows = table_of(parse(one[0]), "results")
  assert head == ["Set", "LTU-7B", "LTU-13B", "stage 4"]
  # REFERENCE: the published results, in the paper's order.
  assert [row[:3] for row in rows] == [
    ["ESC-50 accuracy", "83.1", "83.6"],
    ["DCASE 2017 micro F1", "45.9", "44.7"],
    ["VocalSound accuracy", "55.6", "64.2"],
    ["TUT 2017 accuracy", "32.5", "31.0"],
    ["Beijing Opera accuracy", "69.9", "52.1"],
    ["VGGSound accuracy", "50.3", "50.7"],
    ["FSD50K mAP", "46.3", "46.8"],
    ["AudioSet mAP", "18.7", "17.9"],
    ["Mean of classification", "50.3", "48.9"],
    ["AudioCaps SPICE", "17.0", "16.9"],
    ["Clotho SPICE", "11.9", "12.1"],
    ["Open-ended (GPT-3.5) instruction following", "96.9", "95.4"],
    ["Open-ended (GPT-4) instruction following", "96.9", "95.4"],
    [" ".join([made_up_results.HOSTILE[0]] * 2), "", ""],
  ]
  assert rows[7][3] == f"{MINUS}1.7 17.0 1 16.0 to 18.0 on 1,998 of 2,000"
  assert rows[10][3] == f"{MINUS}0.9 11.0 10.0 to 12.0 on 1,998 of 2,000"
  assert rows[11][3] == f"{MINUS}21.9 75.0 3 70.0 to 80.0 on 1,998 of 2,000"


def test_the_published_means_are_those_of_their_rows():
  for model, places in (("LTU-7B", 50.3), ("LTU-13B", 48.9)):
    values = [r.published[model] for r in paper.ROWS if r.averaged]
    # Rounded to a tenth, as are the eight numbers.
    assert sum(values) / 8 == pytest.approx(places, abs=0.1)


def test_the_mean_is_over_all_eight_or_not_there(one, three):
  csv = pandas.read_csv(one[2])
  of_paper = csv[(csv.headline == 1) & (csv["set"] != "mini")]
  classification = of_paper[of_paper.kind == "classification"]
  want = f"{100 * classification.value.mean():.1f}"
  assert len(classification) == 8
  row = table_of(parse(one[0]), "results")[9]
  assert row[3].split()[1].startswith(want) and "over 8 sets" in row[3]
  row = table_of(parse(three[0]), "results")[9]
  assert row[4] == "7 of 8 sets; without VGGSound"
  assert row[5] == "7 of 8 sets; without AudioSet"


def test_another_embedder_is_noted_at_each_number(one):
  page = parse(one[0])
  notes = [text(x) for x in page.find(".//ol[@class='notes']")]
  assert "text embedder all-MiniLM-L6-v2" in notes[0]
  assert "text-embedding-ada-002" in notes[0]
  rows = list(page.find(".//table[@class='results']/tbody"))
  marks = [[x.get("href") for x in row.iter("a")][1:] for row in rows]
  assert marks[:8] == [["#note-1"]] * 8
  assert marks[9:11] == [[], []] and marks[11] == ["#note-3"]
  assert notes[2].startswith("The paper has one number for open-ended")


def test_the_papers_embedder_needs_no_note(tmp_path):
  made, items = next(made_up_results.all_sets(most=6))
  ada = "text-embedding-ada-002 at https://api.example/v1"
  for name, embedder in (("a", ada), ("b", None)):
    same = dataclasses.replace(made, settings={"embedder": embedder})
    folder = made_up_results.write(tmp_path / name, [(same, items)])
    page = parse(report([folder], folder / "report")[0])
    assert page.find(".//table[@class='results']//sup") is None


def test_another_protocol_is_noted(tmp_path):
  made, items = next(made_up_results.all_sets(most=6))
  metric = made_up_results.accuracy([0.5] * 200, "constrained")
  other = dataclasses.replace(made, metrics=[metric])
  folder = made_up_results.write(tmp_path / "a", [(other, items)])
  page = parse(report([folder], tmp_path / "out")[0])
  (note,) = [text(x) for x in page.find(".//ol[@class='notes']")]
  assert note.startswith("Scored by the protocol constrained, which is not")


def test_a_set_without_a_number_says_why(tmp_path, three):
  rows = table_of(parse(three[0]), "results")
  assert rows[6][4] == rows[11][4] == rows[8][5] == "no result"
  made, items = made_up_results.captions("clotho", "Clotho", "m", 0, 0.1)
  none = dataclasses.replace(
    made.metrics[0], value=None, note="no Java: install a JRE"
  )
  unlike = dataclasses.replace(made, set="audiocaps", metrics=[])
  folder = made_up_results.write(
    tmp_path / "a",
    [(dataclasses.replace(made, metrics=[none]), items), (unlike, items)],
  )
  rows = table_of(parse(report([folder], tmp_path / "out")[0]), "results")
  assert rows[11][3] == "no Java: install a JRE on 1,998 of 2,000"
  assert rows[10][3] == "SPICE was not measured on 1,998 of 2,000"


def test_every_text_of_an_item_is_shown_as_it_is(one):
  page = parse(one[0])
  whole = text(page)
  for hostile in made_up_results.HOSTILE:
    shown = re.sub("[\0\x08\x85\ud83d]", "\ufffd", hostile)
    assert " ".join(shown.split()) in whole
  assert page.find(".//img") is None
  assert "49" not in [text(x) for x in page.iter("bdi")]


def test_differences_are_refused_and_nothing_written(three_folders, tmp_path):
  made, items = next(made_up_results.all_sets("other", 0, 0, 6))
  other = dataclasses.replace(made, settings={"seed": 7})
  folder = made_up_results.write(tmp_path / "a", [(other, items)])
  out = tmp_path / "out"
  with pytest.raises(EvaluateError, match="settings: seed: 0"):
    report([three_folders[0], folder], out)
  assert not out.exists()
  page = parse(report([three_folders[0], folder], out, ["settings"])[0])
  warnings = [
    text(x) for x in page.iter() if x.get("class", "").startswith("warning")
  ]
  assert len(warnings) == 2 and "seed stage 4: 0 other: 7" in warnings[0]
  assert "**Not evaluated alike**" in (out / "report.md").read_text()


def test_markdown_has_the_same_tables(three):
  markdown = three[1].read_text(encoding="utf-8")
  rendered = MarkdownIt("commonmark").enable("table").render(markdown)
  parser = html5lib.HTMLParser(namespaceHTMLElements=False)
  body = parser.parse(f"<!DOCTYPE html>{rendered}")
  head, *rows = [
    [text(x) for x in row] for row in body.find(".//table").iter("tr")
  ]
  assert head[:4] == ["set", "measure", "LTU-7B", "LTU-13B"]
  assert head[4:] == ["stage 4", "stage 3", "no curriculum"]
  of_page = table_of(parse(three[0]), "results")[1:]
  assert [row[2:4] for row in rows] == [row[1:3] for row in of_page]
  assert rows[7][4] == (
    f"17.0 (16.0 to 18.0; {MINUS}1.7 to LTU-7B; on 1,998 of 2,000; note 1)"
  )
  assert all(len(row) == 7 for row in rows)
  assert len(body.findall(".//table")) == 13
  for hostile in made_up_results.HOSTILE:
    clean = hostile.replace("\ud83d", "?").replace("\0", "\ufffd")
    assert " ".join(clean.split()) in text(body)
  tags = {x.tag for x in body.iter()}
  assert not tags & {"script", "img", "a", "code", "em"}


def test_the_csv_has_every_number(three, three_folders):
  csv = pandas.read_csv(three[2], keep_default_na=False)
  assert list(csv.checkpoint.unique()) == [
    "stage 4",
    "stage 3",
    "no curriculum",
  ]
  row = csv[
    (csv.checkpoint == "stage 3")
    & (csv["set"] == "audioset")
    & (csv.metric == "mAP")
  ].squeeze()
  got = [float(row[x]) for x in ("value", "low", "high", "chance")]
  value = 0.17 - 0.06
  # The very same numbers: nothing is rounded.
  assert got == [value, value - 0.01, value + 0.01, 0.01]
  assert (row["count"], row.protocol) == (1998, "published")
  assert [float(row.ltu_7b), float(row.ltu_13b)] == [18.7, 17.9]
  assert [int(row[x]) for x in ("total", "found", "unreadable", "items")] == [
    *(2000, 1998, 1, 1998)
  ]
  none = csv[csv.metric == "METEOR"].iloc[0]
  assert none.value == "" and none.note.startswith("needs Java")
  count = sum(len(m.metrics) for m, _ in made_up_results.all_sets(most=6))
  assert (csv.checkpoint == "stage 4").sum() == count


def test_the_page_keeps_its_size(tmp_path, monkeypatch):
  made, items = next(made_up_results.all_sets(most=6))
  folder = made_up_results.write(tmp_path / "a", [(made, items)])
  load = lambda item: wav(1)
  path, *_ = report([folder], tmp_path / "all", load_audio=load)
  page = parse(path)
  assert len(list(page.iter("audio"))) == len(list(page.iter("img"))) == 10
  whole = path.stat().st_size
  monkeypatch.setattr(report_module, "PAGE_BYTES", whole - 100_000)
  path, *_ = report([folder], tmp_path / "some", load_audio=load)
  some = parse(path)
  players = len(list(some.iter("audio")))
  assert 0 < players < 10 and path.stat().st_size < whole - 100_000
  assert f"{10 - players} more sounds would have made" in text(some)
  assert text(some).count("the page has all that it has room for") == (
    10 - players
  )


def test_a_sound_of_several_checkpoints_is_there_once(tmp_path):
  folders = []
  for name in "abc":
    made, items = made_up_results.captions("clotho", "Clotho", name, 0, 0.1)
    folders.append(made_up_results.write(tmp_path / name, [(made, items)]))
  load = lambda item: wav(0.1)
  page = parse(report(folders, tmp_path / "out", load_audio=load)[0])
  assert len(list(page.iter("audio"))) == 10
  links = [x.get("href") for x in page.iter("a")]
  sounds = [x for x in links if x.startswith("#sound-")]
  # The second and the third checkpoint lead to what the first shows.
  assert len(sounds) == 20 and len(set(sounds)) == 10


def test_half_a_character_in_a_name_does_no_harm(tmp_path):
  name = io.TextIOWrapper(io.BytesIO(b"caf\xe9"), "utf-8", "surrogateescape")
  model = f"{name.read()} | <b>"
  folder = made_up_results.write(
    tmp_path / "a", made_up_results.all_sets(model, most=6)
  )
  page, markdown, table = report([folder], tmp_path / "out")
  assert "caf\ufffd | <b>" in text(parse(page))
  assert r"caf? \| \<b\>" in markdown.read_text(encoding="utf-8")
  assert pandas.read_csv(table).checkpoint[0] == "caf? | <b>"
