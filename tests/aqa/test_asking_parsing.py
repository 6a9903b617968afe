"""Pairs in what models write; the json module and Python's repr are oracles."""

import functools
import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltu_jax.aqa.asking import objects, parsing
from ltu_jax.aqa.asking.parsing import parse

ONE = '{"q": "Why?", "a": "As it barks."}'
TWO = '{"q": "When?", "a": "At the end."}'
PAIR, NEXT = ("Why?", "As it barks."), ("When?", "At the end.")


@pytest.mark.parametrize(
  "text",
  [
    f"{ONE}\n{TWO}",
    f"{ONE} {TWO}",
    f"{ONE}, {TWO}",
    f"{ONE}{TWO}",
    f"[{ONE},\n {TWO}]",
    f"[{ONE},\n {TWO},]",
    f"```json\n{ONE}\n{TWO}\n```",
    f"```\n[{ONE}, {TWO}]\n```\nI hope that helps!",
    f"Here are {{two}} pairs:\n\n1. {ONE}\n2. {TWO}",
    f"1) {ONE};\n2) {TWO};",
    f"- **Pair 1**: `{ONE}`\n- **Pair 2**: `{TWO}`",
    f'{{"pairs": [{ONE}, {TWO}]}}',
    f'{{"1": {ONE}, "2": {TWO}}}',
    f"<think>{{maybe {ONE}}}</think>\n{ONE}\n{TWO}",
    f"{ONE[:-1]},}}\n{TWO[:-1]} ,\n}}",
    f"{ONE[:-1]}\n{TWO}",
    f"{ONE[:-1]}\n2. {TWO[:-1]}",
    f"{{{ONE}}}\n{{{TWO}}}",
    f"{ONE}\n{TWO}".replace('"', "'"),
    f"{ONE}\n{TWO}".replace('"q"', "q").replace('"a"', "a"),
    f"{ONE}\n{TWO}".replace('"q"', '"Question"').replace('"a"', '"ANSWER"'),
    f"{ONE}\n{TWO}".replace('"q"', '"instruction"').replace('"a"', '"output"'),
    re.sub('"([^"]*)"', "\u201c\\1\u201d", f"{ONE}\n{TWO}"),
    '{"q": "Why?",\n "a": "As it barks."\n}\n{ "q" : "When?" , "a" : "At the'
    ' end." }',
    '{"q": "Why?", "a": "As it barks.", "q": "When?", "a": "At the end."}',
    '{"q1": "Why?", "a1": "As it barks.", "q2": "When?", "a2": "At the end."}',
    '{"q": "Why?"}\n{"a": "As it barks."}\n{"q": "When?"},'
    ' {"a": "At the end."}',
    f'{{"a": "As it barks.", "q": "Why?"}}\n{TWO}',
    f'{{"id": 1, "q": "Why?", "a": "As it barks.", "tags": ["x"]}}\n{TWO}',
    f'{{"q": "Why?" "a": "As it barks."}}\n{TWO}',
  ],
)
def test_two_pairs(text):
  found = parse(text)
  assert found.pairs == (PAIR, NEXT)
  assert not found.dropped


@pytest.mark.parametrize(
  ("text", "answer"),
  [
    ('"It says "woof", and ends."', 'It says "woof", and ends.'),
    ('"The "bark", "growl" and so on"', 'The "bark", "growl" and so on'),
    ('"Called "bark", note: loud"', 'Called "bark", note: loud'),
    ("'It's the dog's'", "It's the dog's"),
    ('"It\'s \\"so\\""', 'It\'s "so"'),
    (
      r'"Step 1\nStep 2\ttab \\ \/ \u4e2d\ud83d\ude00"',
      "Step 1\nStep 2\ttab \\ / \u4e2d\U0001f600",
    ),
    ('"Step 1\nStep 2"', "Step 1\nStep 2"),
    (r'"It\'s \p"', r"It's \p"),
    (r'"half \ud83d of one"', "half \ufffd of one"),
    ('"in {braces} and [brackets], so"', "in {braces} and [brackets], so"),
    ('"\u201cWoof\u201d, it says"', "\u201cWoof\u201d, it says"),
    (
      "\u201cThe dog\u2019s \u201cwoof\u201d it is\u201d",
      "The dog\u2019s \u201cwoof\u201d it is",
    ),
    ('"  spaces \\n"', "spaces"),
  ],
)
def test_texts(text, answer):
  found = parse(f'{{"q": "Why?", "a": {text}}}\n{TWO}')
  assert found.pairs == (("Why?", answer), NEXT)
  assert not found.dropped


@pytest.mark.parametrize(
  "text",
  [
    '{"q": "Why?", "a": "As it ba',
    '{"q": "Why?", "a": "So it is}',
    '{"q": "Why?", "a":',
    '{"q": "Why?", "a": "So',
    '{"q": "Why?", "a": "So \\',
    '{"q": "Why?",',
    "{",
    '```json\n[{"q": "Why',
  ],
)
def test_cut_at_the_end(text):
  found = parse(f"{ONE}\n{TWO}\n{text}")
  assert found.pairs == (PAIR, NEXT)
  assert found.dropped == {objects.CUT: 1}


@pytest.mark.parametrize(
  ("text", "dropped"),
  [
    ('{"q": "Why?", "a": "As it barks."', {}),
    ('{"q": "Why?", "a": "As it barks.", "note": "and so', {}),
    ('{"q": "Why?", "a": "As it barks.", "q": "How lo', {objects.CUT: 1}),
  ],
)
def test_a_whole_pair_in_an_object_that_is_cut(text, dropped):
  found = parse(f"{TWO}\n{text}")
  assert found.pairs == (NEXT, PAIR)
  assert found.dropped == dropped


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ('{"q": "Why?"}', parsing.NO_ANSWER),
    ('{"a": "So."}', parsing.NO_QUESTION),
    ('{"prompt": "Why?", "reply": "So."}', parsing.NO_QUESTION),
    ('{"q": "...", "a": "..."}', parsing.EMPTY),
    ('{"q": "Why?", "a": " "}', parsing.EMPTY),
    ('{"q": "Why?", "a": ["Step 1", "Step 2"]}', parsing.NO_TEXT),
    ('{"q": "Why?", "a": {"1": "So."}}', parsing.NO_TEXT),
    ('{"q": 7, "a": "So."}', parsing.NO_TEXT),
    ('{"q": "Why?", "q": "How?", "a": "So."}', objects.BROKEN),
    ('{"q": "Why?, "a": "So."}', parsing.NO_ANSWER),
    ('{"q": "Why?", "a": "So it is}', objects.BROKEN),
    ('{"q": "Why?", "a": ', parsing.NO_TEXT),
    ('{"q": "Why?", So.}', objects.BROKEN),
  ],
)
def test_what_is_dropped_leaves_others(text, reason):
  found = parse(f"{ONE}\n{text}\n{TWO}")
  assert found.pairs == (PAIR, NEXT)
  assert found.dropped == {reason: 1}


def test_prose_is_nothing():
  for text in ("", "I can not.", "Q: {why}?\nA: {so}", "{}", "{{}}", "}{"[:1]):
    found = parse(text)
    assert found.pairs == () and not found.dropped


_TEXTS = (
  st.text(max_size=60)
  .map(str.strip)
  .filter(lambda text: any(map(str.isalnum, text)))
)
_PAIRS = st.lists(st.tuples(_TEXTS, _TEXTS), max_size=4)


@settings(deadline=None)
@given(_PAIRS, st.booleans(), st.sampled_from([None, 1]), st.booleans())
def test_json_comes_out_as_it_went_in(pairs, ascii_only, indent, as_list):
  made = [{"q": question, "a": answer} for question, answer in pairs]
  dump = functools.partial(json.dumps, ensure_ascii=ascii_only, indent=indent)
  text = dump({"pairs": made}) if as_list else "\n".join(map(dump, made))
  found = parse(text)
  assert found.pairs == tuple(pairs) and not found.dropped


@settings(deadline=None)
@given(_PAIRS)
def test_python_comes_out_as_it_went_in(pairs):
  made = [
    {"question": question, "answer": answer} for question, answer in pairs
  ]
  found = parse(repr(made))
  assert found.pairs == tuple(pairs) and not found.dropped


_ATOMS = ['{"q": "', '", "a": "', '"}', "{", "}", "[", "]", '"', "'", "\\", ","]
_ATOMS += [
  ":",
  " ",
  "\n",
  "q",
  "\\u",
  "\ud83d",
  "\u201c",
  "1. ",
  "```",
  "<think>",
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(_ATOMS), max_size=60).map("".join))
def test_any_text_gives_pairs_that_can_be_written(text):
  found = parse(text)
  for pair in found.pairs:
    for part in pair:
      part.encode()
      assert part == part.strip() != ""


@pytest.mark.parametrize(
  "piece",
  [
    *_ATOMS,
    '{"q": ',
    '{"q": [',
    '{"q": "',
    '{"q":"x",',
    '" {"q": ',
    '"q":',
    '", "',
    '"}',
    '" ,',
    "{q",
    '\\"',
    "{" + " " * 20,
    '"' + " " * 1000,
    '{"q": "x' + '"' + " " * 1000 + ", " * 50,
  ],
)
def test_time_is_linear_in_length(piece):
  # 64,000 characters take 0.05 s on an idle core, what is quadratic minutes.
  start = time.process_time()
  parse('{"q": "x' + piece * (64_000 // len(piece)))
  parse(piece * (64_000 // len(piece)))
  assert time.process_time() - start < 10


def test_too_long():
  found = parse(ONE + " " * parsing.LONGEST + TWO)
  assert found.pairs == (PAIR,) and found.dropped == {parsing.TOO_LONG: 1}
