"""Questions from elsewhere: good ones, counted ones, or one JsonError."""

import io
import json

from etils import epath
from hypothesis import strategies as st

import made_up_openaqa as made_up
from fuzz_cases import fuzzed
from fuzz_data import PATHS, hostile_json
from ltu_jax import utf8_stream
from ltu_jax.data.question_index import QuestionIndex
from tfds_builders.openaqa.full import entries, plan, spool
from tfds_builders.openaqa.full.audio_files import AudioFiles
from tfds_builders.openaqa.full.entries import JsonError
from tfds_builders.openaqa.full.tally import Tally

QUESTIONS = [
  [made_up.question(name, 0) for name in ("a", "b", "c")],
  [made_up.question("caf\u00e9 \U0001f600", 1, output="\u20ac \\ \" ' \n")],
  [made_up.question("a", i) | {"extra": [[1.5, {"b": None}]]} for i in (0, 1)],
]


def _read(path) -> tuple[list[entries.Entry], Tally]:
  left_out = Tally(entries.LEFT_OUT)
  reader = entries.EntryReader(path, left_out, Tally(entries.MENDED))
  found = list(reader)
  assert reader.num_read == len(found) + sum(left_out.counts.values())
  left_out.as_json()
  return found, left_out


@fuzzed("questions in JSON", data=hostile_json(QUESTIONS))
def test_entries_counts_or_a_json_error(case, data):
  path = case.folder / "questions.json"
  path.write_bytes(data)
  with case.refuses(JsonError, naming=path):
    found, _ = _read(path)
    for entry in found:
      assert all(isinstance(text, str) for text in entry)
      assert "".join(entry).encode("utf-8")
      assert entry.audio_id.strip()


_AUDIO_IDS = (
  st.text()
  | st.sampled_from(PATHS)
  | st.sampled_from(("clip", "../clip.wav", "x/clip", "Yabcdefghijk_30.wav"))
)


@fuzzed(
  "names of clips",
  ids=st.lists(_AUDIO_IDS, min_size=1, max_size=4),
  files=st.lists(_AUDIO_IDS, max_size=4),
  task=st.text() | st.sampled_from((*PATHS, "a\0", "\0")),
)
def test_a_clip_is_a_file_of_the_given_folder(case, ids, files, task):
  audio, out = case.folder / "audio", case.folder / "spool"
  (audio / "sub").mkdir(parents=True)
  for place, name in enumerate((*files, "clip")):
    name = name.replace("/", "").replace("\0", "")
    name = name.encode(errors="ignore").decode()[:60]
    (audio / ("sub" if place % 2 else "") / f"{name}.wav").touch()
  questions = [made_up.question("a", 0, audio_id=i, task=task) for i in ids]
  path = case.folder / "questions.json"
  path.write_text(json.dumps(questions))
  source = plan.Input((str(path),), (str(audio),), True)
  with case.refuses(JsonError, plan.PlanError):
    made = plan.make(source, AudioFiles(source.audio_roots), epath.Path(out))
    rows = [
      row for rows in spool.read_shard(epath.Path(out), 0, 1) for row in rows
    ]
    assert len(rows) == made.num_questions <= len(ids)
    for row in rows:
      assert row.path.startswith(f"{audio}/")
      assert row.clip_id.encode("utf-8")
    index = QuestionIndex.make(
      [[(row.entry.task, row.entry.dataset)] for row in rows]
    )
    index.save(case.folder / "index.npz")
    assert QuestionIndex.load(case.folder / "index.npz").tasks == index.tasks
    assert {row.entry.task for row in rows} == set(index.tasks)


@fuzzed(
  "JSON in any encoding",
  data=st.binary() | hostile_json(QUESTIONS),
  size=st.integers(1, 50),
)
def test_any_bytes_become_utf_8(case, data, size):
  stream = utf8_stream.Utf8Stream(io.BytesIO(data[:20_000]))
  while piece := stream.read(size):
    utf8_stream.mend(piece.decode("utf-8")).encode("utf-8")
