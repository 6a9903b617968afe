"""Entries out of JSON files: good ones whole, each kind of bad one counted."""

import hashlib
import io
import json
import tracemalloc

import pytest

import made_up_openaqa
from ltu_jax import utf8_stream
from tfds_builders.openaqa.full import entries
from tfds_builders.openaqa.full.entries import Entry, EntryReader, JsonError
from tfds_builders.openaqa.full.tally import Tally

GOOD = made_up_openaqa.question("clip", 0)


def read(path, **options):
  """Returns the entries, and what was counted."""
  left_out, mended = Tally(entries.LEFT_OUT), Tally(entries.MENDED)
  found = list(EntryReader(path, left_out, mended, **options))
  return found, left_out, mended


def write(tmp_path, value):
  path = tmp_path / "questions.json"
  path.write_text(value if isinstance(value, str) else json.dumps(value))
  return path


def test_a_published_entry_is_read_as_it_is(tmp_path):
  found, left_out, mended = read(write(tmp_path, [GOOD]))
  assert found == [Entry(**GOOD)]
  assert not left_out.counts
  assert not mended.counts


@pytest.mark.parametrize(
  ("kind", "entry", "why"),
  [
    ("not_an_object", "a text", "'a text'"),
    ("not_an_object", None, "None"),
    ("not_an_object", [GOOD], "instruction"),
    *(
      ("missing_key", {k: v for k, v in GOOD.items() if k != key}, f"no {key}")
      for key in ("instruction", "audio_id", "output")
    ),
    ("wrong_type", GOOD | {"output": 3}, "output is 3"),
    ("wrong_type", GOOD | {"output": None}, "output is None"),
    ("wrong_type", GOOD | {"audio_id": ["a"]}, "audio_id is ['a']"),
    ("wrong_type", GOOD | {"task": 1.5}, "task is 1.5"),
    ("empty_answer", GOOD | {"output": ""}, "output is ''"),
    ("empty_answer", GOOD | {"output": " \n"}, "about '/data"),
    ("empty_question", GOOD | {"instruction": ""}, "instruction is ''"),
    ("empty_audio_id", GOOD | {"audio_id": " "}, "audio_id is ' '"),
    ("bad_name", GOOD | {"audio_id": "a/" * 2049}, "audio_id is 'a/a/"),
    ("bad_name", GOOD | {"task": "t" * 201}, "task is 'ttt"),
    ("bad_name", GOOD | {"dataset": "a\0"}, r"dataset is 'a\x00'"),
    ("bad_name", GOOD | {"task": "\x1b[2J"}, r"task is '\x1b[2J'"),
  ],
)
def test_a_bad_entry_is_left_out_and_counted(tmp_path, kind, entry, why):
  found, left_out, _ = read(write(tmp_path, [GOOD, entry, GOOD]))
  assert found == [Entry(**GOOD)] * 2
  assert left_out.counts == {kind: 1}
  (example,) = left_out.examples[kind]
  assert example.startswith("questions.json entry 2: ")
  assert why in example


@pytest.mark.parametrize(
  ("kind", "entry"),
  [
    ("not_an_object", "NESTED"),
    ("wrong_type", json.dumps(GOOD | {"output": 0}).replace("0", "NESTED")),
  ],
)
def test_an_entry_that_python_cannot_print_is_counted(tmp_path, kind, entry):
  nested = "[" * 2000 + "]" * 2000
  path = write(tmp_path, f"[{entry.replace('NESTED', nested)}]")
  found, left_out, _ = read(path)
  assert not found
  assert left_out.counts == {kind: 1}
  assert "[[[[" in left_out.examples[kind][0]


@pytest.mark.parametrize("key", ["task", "dataset"])
def test_task_and_data_set_are_optional(tmp_path, key):
  absent = {k: v for k, v in GOOD.items() if k != key}
  values = [absent, GOOD | {key: None}, GOOD | {key: ""}]
  found, left_out, mended = read(write(tmp_path, values))
  assert found == [Entry(**(GOOD | {key: "unknown"}))] * 3
  assert mended.counts == {f"no_{key}": 3}
  assert not left_out.counts


def test_a_missing_input_is_an_empty_one(tmp_path):
  absent = {k: v for k, v in GOOD.items() if k != "input"}
  found, *_ = read(write(tmp_path, [absent, GOOD | {"input": "I am sad"}]))
  assert [entry.input for entry in found] == ["", "I am sad"]


def test_other_keys_are_no_matter(tmp_path):
  found, left_out, _ = read(write(tmp_path, [GOOD | {"more": {"a": [1]}}]))
  assert found == [Entry(**GOOD)]
  assert not left_out.counts


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_files_with_a_mark_are_read_in_their_encoding(tmp_path, encoding):
  path = tmp_path / "questions.json"
  text = json.dumps([GOOD], ensure_ascii=False)
  path.write_bytes(text.encode(encoding))
  found, _, mended = read(path)
  assert found == [Entry(**GOOD)]
  assert not mended.counts


def test_entries_in_another_encoding_are_mended_and_counted(tmp_path):
  path = tmp_path / "questions.json"
  texts = [
    json.dumps(GOOD, ensure_ascii=False).encode("utf-8"),
    json.dumps(GOOD | {"output": "“café”, 5 €"}, ensure_ascii=False).encode(
      "cp1252"
    ),
    json.dumps(GOOD | {"input": "été 🎵"}).encode("ascii"),
  ]
  path.write_bytes(b"[" + b",\n".join(texts) + b"]")
  found, left_out, mended = read(path)
  assert [e.output for e in found] == [
    GOOD["output"],
    "“café”, 5 €",
    GOOD["output"],
  ]
  assert found[2].input == "été 🎵"
  assert mended.counts == {"encoding": 1}
  assert "“café”, 5 €" in mended.examples["encoding"][0]
  assert not left_out.counts


@pytest.mark.parametrize(
  ("escapes", "mended"),
  [
    (r"a\ud83cb", "a\ufffdb"),
    (r"a\uDFB5", "a\ufffd"),
    (r"\udfb5\ud83c", "\ufffd\ufffd"),
    (r"\ud83c\ud83c\udfb5\n", "\ufffd🎵\n"),
    (r"\\ud83c \"\\\ud83c", '\\ud83c "\\\ufffd'),
  ],
)
def test_halves_of_characters_are_mended_and_counted(tmp_path, escapes, mended):
  entry = json.dumps(GOOD | {"output": "HERE"})
  text = f"[{entry.replace('HERE', escapes)}, {json.dumps(GOOD)}]"
  found, left_out, told = read(write(tmp_path, text))
  assert [e.output for e in found] == [mended, GOOD["output"]]
  assert told.counts == {"encoding": 1}
  assert not left_out.counts


def test_an_escape_may_lie_on_any_border_of_two_pieces():
  text = r"\ud83c\udfb5 \\ud83c\\\ud83c\ud83c\udfb5 \n\udfb5 " * 3
  whole = utf8_stream.Utf8Stream(io.BytesIO(text.encode())).read()
  assert whole.count(chr(0x10F700).encode()) == 6
  for size in range(1, 40):
    stream = utf8_stream.Utf8Stream(io.BytesIO(text.encode()))
    pieces = iter(lambda stream=stream, size=size: stream.read(size), b"")
    assert b"".join(pieces) == whole
    assert stream.strays == 6


@pytest.mark.parametrize(
  ("text", "why"),
  [
    ("", "the file is empty; download it again"),
    ("  \n", "the file is empty"),
    ('{"a": 1}', r"no list of entries: it has to begin with \["),
    ("hello", "begins with 'hello'"),
    ("[" + json.dumps(GOOD) + ",", "after 1 entries, where the file ends"),
    (json.dumps([GOOD])[:-4], "where the file ends early; download it again"),
    (f"[{json.dumps(GOOD)} {json.dumps(GOOD)}]", r"I expect ',' or '\]'"),
    ('[{"output": NaN}]', "invalid char in json text"),
    ("[] and more", "trailing garbage"),
  ],
)
def test_what_is_no_whole_json_list_is_one_error(tmp_path, text, why):
  path = write(tmp_path, text)
  with pytest.raises(JsonError, match=why) as caught:
    read(path)
  assert str(caught.value).startswith(str(path))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bomb", ["[", '{"a":', "[0,"])
def test_a_bomb_of_brackets_takes_little_memory(tmp_path, bomb):
  path = write(tmp_path, "[" + bomb * 100_000)
  tracemalloc.start()
  with pytest.raises(JsonError, match="where the file ends early"):
    read(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  # 0.5 MB at most become lists or dictionaries of one, of 0.2 kB each.
  assert peak < 50e6


def test_an_endless_entry_is_not_read_to_its_end(tmp_path):
  text = "a" * (20 << 20)
  path = write(tmp_path, [GOOD, GOOD | {"output": text}, GOOD])
  tracemalloc.start()
  with pytest.raises(
    JsonError, match=r"after 1 entries, .* over 4 MB; take it"
  ):
    read(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 50e6


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(JsonError, match=r"none\.json: there is no such file"):
    read(tmp_path / "none.json")


def test_the_reader_tells_where_it_is_and_what_it_read(tmp_path):
  path = write(tmp_path, [GOOD, 3, GOOD])
  reader = EntryReader(path, Tally(entries.LEFT_OUT), Tally(entries.MENDED))
  assert reader.num_bytes == path.stat().st_size
  assert len(list(reader)) == 2
  assert reader.num_read == 3
  assert reader.position == reader.num_bytes
  assert reader.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# What the published script would drop, and what it would not.
@pytest.mark.parametrize(
  ("answer", "is_dropped"),
  [
    ("It cannot be determined from the audio.", True),
    ("There is not ENOUGH information.", True),
    ("Sorry, no.", True),
    ("The mood is unclear", True),
    ("The sound is loud enough.", True),
    ("A dog barks.", False),
    ("It can be determined: a dog.", False),
    ("", False),
  ],
)
def test_unanswerable_as_the_published_filter(answer, is_dropped):
  assert entries.is_unanswerable(answer) == is_dropped


def test_the_phrases_are_those_of_the_published_filter():
  # Its list, word for word; ours leaves out what another of them is part of.
  published = [
    "cannot determine",
    "not provided",
    "cannot be determined",
    "sorry",
    "i cannot",
    "without more information",
    "enough information",
    "not possible",
    "more context",
    "enough",
    "impossible",
    "cannot be determined",
    "without additional information",
    "unclear",
    "cannot",
    "not clear",
    "do not provide sufficient",
    "does not provide",
    "difficult to determine",
    "no information provided",
    "can't infer",
    "difficult to infer",
    "not specified",
    "no specific",
    "no information",
    "without additional",
    "it is difficult to",
    "no indication",
  ]
  ours = entries.UNANSWERABLE_PHRASES
  assert set(ours) <= set(published)
  for phrase in published:
    assert sum(own in phrase for own in ours) >= 1
  for own in ours:
    assert not any(other in own for other in ours if other != own)


def test_unanswerable_ones_are_left_out_when_asked(tmp_path):
  path = write(tmp_path, [GOOD, GOOD | {"output": "It is unclear."}])
  assert len(read(path)[0]) == 2
  found, left_out, _ = read(path, keep_unanswerable=False)
  assert found == [Entry(**GOOD)]
  assert left_out.counts == {"unanswerable": 1}


def test_memory_does_not_grow_with_the_file(tmp_path):
  peaks = []
  for count in (8_000, 64_000):
    path = write(tmp_path, [GOOD] * count)
    reader = EntryReader(path, Tally(entries.LEFT_OUT), Tally(entries.MENDED))
    tracemalloc.start()
    assert sum(1 for _ in reader) == count
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
  # 64,000 entries are 17 MB; a piece of the file is 1 MB and becomes objects.
  assert peaks[1] < 1.2 * peaks[0]
