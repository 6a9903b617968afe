"""Asks a language model about clips, and nothing twice."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ltu_jax.aqa.asking import prompt
from ltu_jax.aqa.records import ClipRecord
from ltu_jax.endpoint import asking, cost, kept
from ltu_jax.endpoint.chat import Chat, Messages, Said
from ltu_jax.endpoint.kept import KeptFile
from ltu_jax.progress import Tell

Records = Callable[[], Iterable[ClipRecord]]
"""Gives all records anew, in the same order."""

_NAME = "open-ended"


@dataclasses.dataclass(frozen=True)
class Manner:
  """How a clip is asked about: what replies depend on, but for the clip.

  Attributes:
    model: The model's name on its server.
    max_tokens: Of a reply; the published script had 1024.
    temperature: The published script had its server's, which is 1.
    schema: Whether replies are held to a JSON schema, where the server can.
  """

  model: str
  max_tokens: int = 1024
  temperature: float = 1.0
  schema: bool = False

  def messages(self, clip: ClipRecord) -> Messages:
    """What is asked about a clip."""
    return prompt.messages(clip.meta_line(), self.schema)

  def key(self, clip: ClipRecord) -> str:
    """Names what is asked about a clip.

    Where replies are drawn, two clips of which the same is known are asked
    about one by one, for different questions. At temperature 0 they would be
    the same, and are paid for once.
    """
    options = dataclasses.asdict(self)
    name = [clip.dataset, clip.id] if self.temperature else None
    return kept.digest(options, self.messages(clip), name)


@dataclasses.dataclass(frozen=True)
class New:
  """What has no reply yet.

  Attributes:
    total: Replies that all records need.
    estimate: What those that are missing take.
  """

  total: int
  estimate: cost.Estimate


def count(records: Records, manner: Manner, file: KeptFile) -> New:
  """Goes through all records, to see what has to be asked."""
  keys: set[str] = set()

  def missing() -> Iterator[Messages]:
    for clip in records():
      key = manner.key(clip)
      if key not in keys:
        keys.add(key)
        if key not in file:
          yield manner.messages(clip)

  estimate = cost.estimate(missing(), manner.max_tokens)
  return New(len(keys), estimate)


def ask(
  records: Records,
  manner: Manner,
  settings: asking.Settings,
  file: KeptFile,
  new: New,
  tell: Tell,
) -> asking.Ended:
  """Asks about all clips without a reply; see asking.ask_all.

  Args:
    records: The clips.
    manner: How they are asked about.
    settings: Who is asked. The highest cost is of all that is in `file`.
    file: The replies; new ones are added as they come.
    new: What is missing in it.
    tell: Takes a line on the progress.
  """
  client = settings.client()
  chat = Chat(
    client,
    manner.model,
    manner.max_tokens,
    temperature=manner.temperature,
    schema=prompt.SCHEMA if manner.schema else None,
    tell=tell,
  )

  def items() -> Iterator[tuple[str, ClipRecord]]:
    for clip in records():
      key = manner.key(clip)
      if key not in file:
        yield key, clip

  def most(clip: ClipRecord) -> tuple[int, int]:
    return cost.messages_tokens(manner.messages(clip)), manner.max_tokens

  work = asking.Work(
    _NAME,
    items(),
    new.total,
    new.total - new.estimate.requests,
    ask=lambda clip: chat.ask(manner.messages(clip)),
    keep=lambda key, clip, said: file.write(key, _line(manner, clip, said)),
    most=most,
    spent=settings.prices.cost(file.tokens) if settings.prices else 0.0,
  )
  try:
    return asking.ask_all(work, settings, tell)
  finally:
    client.close()


def _line(manner: Manner, clip: ClipRecord, said: Said) -> dict[str, Any]:
  """What is kept of a reply."""
  return {
    "model": manner.model,
    "dataset": clip.dataset,
    "clip": clip.id,
    "known": clip.meta_line(),
    "said": said.text,
    "finish": said.finish,
    "tokens": said.tokens,
    "options": said.options,
  }
