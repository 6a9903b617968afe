"""Items to results: decodes ahead, asks, puts the parts together."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator

from ltu_jax.answers import windows
from ltu_jax.answers.answerer import Answer, Question
from ltu_jax.answers.request import RequestError
from ltu_jax.ask.clips import Clip, read_clip
from ltu_jax.ask.items import Item
from ltu_jax.ask.results import Part, Result
from ltu_jax.audio.decode import SAMPLE_RATE
from ltu_jax.sampling import SamplingConfig

Answers = Callable[
  [Iterable[Question]], Iterator[tuple[int, Answer | RequestError]]
]
"""`Answerer.answers`, or a search that is called the same way."""

_THREADS = 2
_AHEAD = 8
"""Clips that are decoded before their turn: 3 MB."""


@dataclasses.dataclass(frozen=True)
class Way:
  """How items are asked.

  Attributes:
    config: How tokens are chosen.
    seed: Of the draws.
    stop: Strings that end an answer.
    samples: Answers to each question.
    overlap: Seconds that windows share; None hears the beginning alone.
  """

  config: SamplingConfig
  seed: int = 0
  stop: tuple[str, ...] = ()
  samples: int = 1
  overlap: float | None = None


@dataclasses.dataclass
class _Open:
  """An item whose parts have not all ended."""

  item: Item
  clip: Clip | None
  spans: list[tuple[int, int]]
  parts: list[Part | None]
  error: str = ""


def ask(
  items: Iterable[Item],
  answers: Answers,
  way: Way,
  tell: Callable[[Result], None],
) -> None:
  """Asks about all items; a failure is one item's, and the others go on.

  Args:
    items: Taken one by one, as there is room for them.
    answers: Answers questions, in any order.
    way: How they are asked.
    tell: Takes each result when it has ended.
  """
  asked: dict[int, tuple[_Open, int]] = {}

  def questions() -> Iterator[Question]:
    number = 0
    for item, clip, error in decoded(items, way.overlap is not None):
      if error:
        tell(Result(item, error=error))
        continue
      spans, found = _parts(item, clip, way)
      open_ = _Open(item, clip, spans, [None] * len(found))
      for part, question in enumerate(found):
        asked[number] = open_, part
        number += 1
        yield question

  for number, answer in answers(questions()):
    open_, part = asked.pop(number)
    ended = isinstance(answer, Answer)
    text = answer.text if ended else str(answer)
    open_.error = open_.error or ("" if ended else text)
    span = open_.spans[part] if open_.spans else (0, 0)
    open_.parts[part] = Part(
      text if ended else "",
      answer.ended if ended else "",
      answer.tokens if ended else 0,
      *(sample / SAMPLE_RATE for sample in span),
    )
    if all(open_.parts):
      tell(_result(open_, way))


def _parts(
  item: Item, clip: Clip | None, way: Way
) -> tuple[list[tuple[int, int]], list[Question]]:
  """The windows of an item, and its questions: one a window, or a sample."""
  question = Question(
    item.text,
    clip and clip.pcm,
    config=way.config,
    seed=way.seed,
    stop=way.stop,
  )
  if clip is None or way.overlap is None:
    return [], [
      dataclasses.replace(question, sample=n) for n in range(way.samples)
    ]
  spans = windows.cut(len(clip.pcm), way.overlap)
  return spans, [
    dataclasses.replace(question, clip=clip.pcm[start:end])
    for start, end in spans
  ]


def _result(open_: _Open, way: Way) -> Result:
  """What came out, when all parts have ended."""
  clip, kind = open_.clip, "samples" if way.samples > 1 else "one"
  return Result(
    open_.item,
    () if open_.error else tuple(open_.parts),
    clip and clip.seconds,
    clip.notes if clip else (),
    clip.warnings if clip else (),
    open_.error,
    "windows" if open_.spans else kind,
  )


def decoded(
  items: Iterable[Item], whole: bool
) -> Iterator[tuple[Item, Clip | None, str]]:
  """Items with their clips, or why these cannot be used; some are read ahead.

  Args:
    items: The items.
    whole: Read all of a sound; then one at a time, as they may be long.
  """
  pool = concurrent.futures.ThreadPoolExecutor(_THREADS)
  queue = collections.deque()
  source, more = iter(items), True
  try:
    while more or queue:
      while more and len(queue) < (1 if whole else _AHEAD):
        item = next(source, None)
        more = item is not None
        if more:
          queue.append((item, pool.submit(_read, item, whole)))
      if queue:
        item, future = queue.popleft()
        yield item, *future.result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def _read(item: Item, whole: bool) -> tuple[Clip | None, str]:
  """The item's clip, or why it cannot be used."""
  try:
    if item.read:
      return read_clip(item.read(), whole=whole, name=item.audio), ""
    return item.path and read_clip(item.path, whole=whole), ""
  except ValueError as error:
    return None, str(error)
