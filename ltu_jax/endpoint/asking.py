"""Many messages to one model: several at once, and no more than it may cost."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from ltu_jax.endpoint import client as client_lib
from ltu_jax.endpoint import cost
from ltu_jax.endpoint.chat import Said
from ltu_jax.endpoint.errors import EndpointError, NoReplyError
from ltu_jax.endpoint.pool import Pool
from ltu_jax.progress import Progress, Tell

_MOST_FAILURES = 10
"""So many requests in a row without a reply: it will not get better."""

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Settings:
  """Who is asked, and how much.

  Attributes:
    model: The model's name on its server.
    base_url: Of the server's API; None is OpenAI's (see client.client).
    key_name: Environment variable that has the key.
    workers: Requests at once.
    prices: Of a million tokens; None if they are not known.
    max_cost: What it may cost, in the prices' currency; None for any.
    retries: See client.client.
    timeout: Seconds of a request.
  """

  model: str
  base_url: str | None = None
  key_name: str = "OPENAI_API_KEY"
  workers: int = 8
  prices: cost.Prices | None = None
  max_cost: float | None = None
  retries: int = client_lib.RETRIES
  timeout: float = client_lib.TIMEOUT

  def __post_init__(self):
    """Raises EndpointError for a highest cost that cannot be seen."""
    if self.max_cost is not None and self.prices is None:
      raise EndpointError(
        "a highest cost is given but no prices: give those, too."
      )

  def client(self):
    """Makes the client; see client.client."""
    return client_lib.client(
      self.base_url,
      self.key_name,
      retries=self.retries,
      timeout=self.timeout,
    )


@dataclasses.dataclass
class Ended:
  """How it ended.

  Attributes:
    kept: Replies that came.
    failed: Why there is none, by key.
    spent: What it has cost, with what it had cost before; 0 without prices.
    is_held: Whether something was not asked, as it might cost too much.
  """

  kept: int = 0
  failed: dict[str, str] = dataclasses.field(default_factory=dict)
  spent: float = 0.0
  is_held: bool = False


@dataclasses.dataclass(frozen=True)
class Work(Generic[Item]):
  """What is asked.

  Attributes:
    name: For lines on the progress.
    items: Each with its key; gone through once, as far as it is asked.
    total: How many they are, with `done`.
    done: How many were asked before.
    ask: Asks about one; several threads call it.
    keep: Takes its key, an item and what was said.
    most: Tokens that asking about an item may send and have written.
    spent: What it has cost before, where that counts.
  """

  name: str
  items: Iterable[tuple[str, Item]]
  total: int
  done: int
  ask: Callable[[Item], Said]
  keep: Callable[[str, Item, Said], None]
  most: Callable[[Item], tuple[int, int]]
  spent: float = 0.0


def ask_all(work: Work[Item], settings: Settings, tell: Tell) -> Ended:
  """Asks about all items.

  Args:
    work: The items. One whose key is under way or has failed is left out.
    settings: Who is asked, how many at once, for how much.
    tell: Takes a line on the progress.

  Raises:
    EndpointError: No request can succeed; what came before was kept.
  """
  run = _Run(work, settings)
  pool = Pool(run.items(), work.ask, settings.workers, run.may_send)
  progress = Progress(work.name, work.total, work.done, tell, run.costs)
  try:
    for outcome in pool.outcomes():
      progress.advance(run.take(*outcome))
  finally:
    # What was paid for is kept, also after Ctrl-C.
    for key, item, said in pool.rest():
      if isinstance(said, Said):
        run.take(key, item, said)
  progress.end()
  run.ended.is_held = pool.is_held
  return run.ended


class _Run(Generic[Item]):
  """Keeps what comes in, and sees what may be sent.

  Attributes:
    ended: How it stands.
  """

  def __init__(self, work: Work[Item], settings: Settings):
    """Nothing has come in."""
    self._work, self._settings = work, settings
    self._under_way: set[str] = set()
    self._reserved, self._in_a_row = 0.0, 0
    self.ended = Ended(spent=work.spent)

  def items(self) -> Iterator[tuple[str, Item]]:
    """Those that are neither under way nor have failed."""
    for key, item in self._work.items:
      if key not in self._under_way and key not in self.ended.failed:
        self._under_way.add(key)
        yield key, item

  def may_send(self, item: Item) -> bool:
    """Whether there is money for it, with what is under way; sets it aside."""
    if self._settings.max_cost is None:
      return True
    needed = self._most(item)
    together = self.ended.spent + self._reserved + needed
    if together > self._settings.max_cost:
      return False
    self._reserved += needed
    return True

  def take(self, key: str, item: Item, said: Said | BaseException) -> str:
    """Keeps one outcome.

    Returns:
      What is wrong with it, "" if nothing.

    Raises:
      EndpointError: There is no use in asking on.
    """
    self._under_way.discard(key)
    if self._settings.max_cost is not None:
      self._reserved -= self._most(item)
    if isinstance(said, Said):
      self._work.keep(key, item, said)
      self.ended.kept, self._in_a_row = self.ended.kept + 1, 0
      if self._settings.prices:
        self.ended.spent += self._settings.prices.cost(said.tokens)
      return ""
    if not isinstance(said, NoReplyError) or said.lasting:
      raise said
    self.ended.failed[key] = str(said)
    self._in_a_row += 1
    if self._in_a_row == _MOST_FAILURES:
      raise EndpointError(f"{said} So ended {_MOST_FAILURES} in a row.")
    return str(said)

  def costs(self) -> str:
    """What it has cost, for lines on the progress."""
    if not self._settings.prices:
      return ""
    return f"has cost {self.ended.spent:.4g}"

  def _most(self, item: Item) -> float:
    """What asking about an item may cost."""
    return self._settings.prices.cost(self._work.most(item))
