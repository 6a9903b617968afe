"""Continuous batching: answers to any number of prompts, some rows at a time.

A fixed number of rows share one cache on the devices. As soon as a row has its
answer, the next prompt takes its place, and the others go on. What a prompt
shares with a row that is still there (a clip, a dialogue so far) is not read
again. A row's answer depends on its request alone: not on its neighbours, on
when it came, or on the number of rows.

  engine = Engine(model, eos_id=2)
  ticket = engine.submit(Request(prompt))
  while not engine.idle:
    for drawn in engine.step(): ...
"""

import collections
import contextlib
import itertools

import numpy as np
from jax import set_mesh
from jax.sharding import Mesh

from ltu_jax import generate, padding, processes
from ltu_jax.answers import held
from ltu_jax.answers import rows as compiled
from ltu_jax.answers.reading import Place, new_rows
from ltu_jax.answers.request import Drawn, Request, Task, check
from ltu_jax.models.ltu import LTU

MOST_STEPS = 32
"""Tokens drawn in one call of the compiled loop at most."""

_READ_TOGETHER = 8
"""Prompts that are read in one call at most: bounds the encoder's memory."""


class Engine:
  """Answers prompts with one model; not to be used by two threads at once.

  Attributes:
    num_rows: Answers that are drawn at once.
    context: Slots of a row: audio tokens, prompt and answer.
  """

  def __init__(
    self,
    model: LTU,
    *,
    eos_id: int,
    num_rows: int = 8,
    context: int = 1024,
    mesh: Mesh | None = None,
    reuse: bool = True,
  ):
    """Makes room for the answers on the devices.

    Args:
      model: The model, on any mesh.
      eos_id: The token that ends an answer.
      num_rows: Answers that are drawn at once; on a mesh, rounded up to what
        its data and fsdp axes divide.
      context: Slots of a row.
      mesh: The mesh that the model lies on; None for one device.
      reuse: Whether what rows still hold is reused.
    """
    self._model, self._eos, self._reuse = model, eos_id, reuse
    self._mesh, self.context = mesh, context
    self._tickets, self._clock = itertools.count(), itertools.count(1)
    self._waiting: collections.deque[Task] = collections.deque()
    self._cancelled: list[Drawn] = []
    with self._on_mesh():
      parts = padding.row_parts()
      self.num_rows = -(-num_rows // parts) * parts
      self._rows = compiled.empty(model, batch=self.num_rows, slots=context)
    self._held = [held.Row() for _ in range(self.num_rows)]
    self._tasks: list[Task | None] = [None] * self.num_rows

  @property
  def idle(self) -> bool:
    """Whether there is nothing to do."""
    return not (self._waiting or self._cancelled or self.num_active)

  @property
  def num_waiting(self) -> int:
    """Requests that have no row yet."""
    return len(self._waiting)

  @property
  def num_active(self) -> int:
    """Rows that are drawing an answer."""
    return sum(task is not None for task in self._tasks)

  def submit(self, request: Request) -> int:
    """Takes a request; its answer comes out of `step`.

    Returns:
      Its ticket.

    Raises:
      RequestError: The prompt is empty, has tokens that the model has not, or
        leaves no room for an answer; or a seed out of range.
    """
    task = Task(
      next(self._tickets),
      request,
      check(request, self._model.cfg, self.context),
    )
    self._waiting.append(task)
    return task.ticket

  def cancel(self, ticket: int) -> None:
    """Ends an answer; unknown and finished tickets are left alone."""
    for task in [*self._waiting, *self._tasks]:
      if task is not None and task.ticket == ticket:
        self._cancelled.append(Drawn(ticket, (), "cancelled", task.reused))
        break
    else:
      return
    if task in self._waiting:
      self._waiting.remove(task)
      return
    row = self._tasks.index(task)
    with self._on_mesh():
      which = np.arange(self.num_rows) == row
      self._rows = compiled.stop(self._rows, which)
    self._release(row)

  def step(self, steps: int = 8) -> list[Drawn]:
    """Reads waiting prompts into free rows, then draws tokens in all rows.

    Args:
      steps: Tokens of each row to draw, at most MOST_STEPS; it comes back
        earlier when a row has ended and a prompt is waiting.

    Returns:
      What was drawn; at most one for each ticket and call.
    """
    drawn, self._cancelled = self._cancelled, []
    found: dict[int, list[int]] = {}
    with self._on_mesh():
      while places := self._next_to_read():
        self._read(places, found)
      if self.num_active:
        self._advance(min(steps, MOST_STEPS), found)
    return drawn + self._told(found)

  def _next_to_read(self) -> list[Place]:
    """Waiting tasks that can be read in one call, with their places.

    All hear a clip anew, or none does. A task whose clip is among them already
    waits for the next call, when that clip is held.
    """
    places: list[Place] = []
    while self._waiting and len(places) < _READ_TOGETHER:
      task = self._waiting[0]
      source, shared = self._beginning(task)
      listens = task.audio is not None and not shared
      heard = {place.task.audio for place in places} if self._reuse else ()
      if places and listens != places[0].listens:
        break
      if listens and task.audio in heard:
        break
      target = held.free_row(self._held, source if shared else None)
      if target is None:
        break
      self._waiting.popleft()
      self._held[target].busy = True
      self._held[target].used = next(self._clock)
      places.append(Place(task, source, target, shared, listens))
    return places

  def _beginning(self, task: Task) -> tuple[int, int]:
    """The row that holds most of a prompt, and how many of its tokens."""
    if not self._reuse:
      return 0, 0
    return held.longest_beginning(self._held, task.audio, task.request.prompt)

  def _read(self, places: list[Place], found: dict[int, list[int]]) -> None:
    """Reads prompts into their rows; adds their first tokens to `found`."""
    audio = None
    if places[0].listens:
      clips = [place.task.request.clip for place in places]
      clips += [None] * (padding.row_bucket(len(clips)) - len(clips))
      audio = compiled.listen(self._model, *generate.batch_clips(clips))
    new = new_rows(places, self._model.cfg, self.num_rows)
    self._rows, first = compiled.read(
      self._model, self._rows, new, audio, self._eos
    )
    first = processes.on_host(first)
    for place, token in zip(places, first, strict=False):
      place.task.reused = place.start(self._model.cfg)
      self._tasks[place.target] = place.task
      row = self._held[place.target]
      row.audio, row.tokens = place.task.audio, list(place.task.request.prompt)
      self._add(place.target, [int(token)], found)

  def _advance(self, steps: int, found: dict[int, list[int]]) -> None:
    """Draws tokens in all active rows; adds them to `found`."""
    self._rows, tokens, drawn = compiled.advance(
      self._model,
      self._rows,
      self._eos,
      steps,
      bool(self._waiting),
      most=MOST_STEPS,
    )
    tokens, drawn = processes.on_host(tokens), processes.on_host(drawn)
    for row in range(self.num_rows):
      if new := tokens[drawn[:, row], row].tolist():
        self._add(row, new, found)

  def _add(
    self, row: int, tokens: list[int], found: dict[int, list[int]]
  ) -> None:
    """Notes new tokens of a row, and whether they end it."""
    task = self._tasks[row]
    found.setdefault(row, []).extend(tokens)
    # The last token drawn is not in the cache: it is written when it is read.
    new = [*task.tokens[-1:], *tokens]
    self._held[row].tokens.extend(new[:-1])
    task.tokens.extend(tokens)
    if tokens[-1:] == [self._eos]:
      task.ended = "stop"
    elif len(task.tokens) == task.limit:
      task.ended = "length"

  def _told(self, found: dict[int, list[int]]) -> list[Drawn]:
    """What came out of one step; rows that ended become free."""
    told = []
    for row, tokens in found.items():
      task = self._tasks[row]
      told.append(Drawn(task.ticket, tuple(tokens), task.ended, task.reused))
      if task.ended:
        self._release(row)
    return told

  def _release(self, row: int) -> None:
    """Frees a row; what it holds may still be reused."""
    self._tasks[row] = None
    self._held[row].busy = False
    self._held[row].used = next(self._clock)

  def _on_mesh(self) -> contextlib.AbstractContextManager:
    """Compiled calls are made in it."""
    return set_mesh(self._mesh) if self._mesh else contextlib.nullcontext()
