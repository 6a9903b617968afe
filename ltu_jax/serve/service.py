"""One thread that answers the questions of many: a bounded queue, time limits.

JAX is called by this thread alone. Requests that are there at the same time are
answered together, row by row (see answers/engine.py). A failure ends the
answers that were being made, each with an error, and the service goes on with a
new engine.
"""

import asyncio
import collections
import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

from ltu_jax.answers.answerer import Answerer, Piece, Question
from ltu_jax.answers.request import RequestError

_STEPS = 4
"""Tokens drawn between two looks at what is new: how often a stream moves."""

_REMEMBERED = 32
"""Answers whose durations say how long one takes."""


class ServiceError(RuntimeError):
  """An answer that could not be made; not the asker's mistake."""


class BusyError(ServiceError):
  """Too many are waiting.

  Attributes:
    retry_after: Whole seconds after which it may be worth asking again.
  """

  def __init__(self, retry_after: int):
    """Makes the error with its message."""
    super().__init__(
      f"too many questions are waiting; ask again in {retry_after} s."
    )
    self.retry_after = retry_after


class StoppingError(ServiceError):
  """The service is being stopped and takes no more."""


class TooSlowError(ServiceError):
  """The answer did not come within the time limit."""


@dataclasses.dataclass(eq=False)
class _Call:
  """A question on its way.

  Attributes:
    question: What is asked.
    tell: Takes its pieces and its error; called by the worker's thread.
    deadline: time.monotonic() at which it is given up.
    ticket: The answerer's, once submitted.
    left: Whether nobody listens any more.
  """

  question: Question
  tell: Callable[[Piece | Exception], None]
  deadline: float
  ticket: int | None = None
  left: bool = False


class Service:
  """Answers from many threads and coroutines, with one worker thread.

  Attributes:
    capacity: Questions that may be open, waiting ones included.
    seconds: Time limit of one answer, waiting included.
  """

  def __init__(
    self,
    make: Callable[[], Answerer],
    *,
    waiting: int = 64,
    seconds: float = 120,
  ):
    """Makes the engine, and starts the thread.

    Args:
      make: Makes an answerer; called again after a failure.
      waiting: Questions that may wait for a row; more are refused.
      seconds: Time limit of an answer, waiting included.
    """
    self._make, self._answerer = make, make()
    self.capacity = self._answerer.engine.num_rows + waiting
    self.seconds = seconds
    self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
    self._lock = threading.Lock()
    self._open: set[_Call] = set()
    self._took: collections.deque[float] = collections.deque(maxlen=_REMEMBERED)
    self._stopping = False
    self._give_up = threading.Event()
    self.failure = ""
    self._thread = threading.Thread(
      target=self._work, name="ltu answers", daemon=True
    )
    self._thread.start()

  @property
  def num_open(self) -> int:
    """Questions that are waiting or being answered."""
    return len(self._open)

  @property
  def num_active(self) -> int:
    """Questions that have a row."""
    return self._answerer.engine.num_active

  @property
  def num_rows(self) -> int:
    """Questions that are answered at once."""
    return self._answerer.engine.num_rows

  @property
  def healthy(self) -> bool:
    """Whether questions are taken and can be answered."""
    return not (self._stopping or self.failure) and self._thread.is_alive()

  def stream(self, question: Question) -> Iterator[Piece]:
    """Answers piece by piece; the last piece has the whole answer.

    An iterator that is closed early takes its question back.

    Raises:
      BusyError: Too many are waiting.
      RequestError: The question cannot be answered.
      ServiceError: Its answer could not be made; see the subclasses.
    """
    found: queue.SimpleQueue[Piece | Exception] = queue.SimpleQueue()
    with self._asked(question, found.put):
      while True:
        item = found.get()
        if isinstance(item, Exception):
          raise item
        yield item
        if item.answer:
          return

  async def astream(self, question: Question) -> AsyncIterator[Piece]:
    """The same for a coroutine; see `stream`."""
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[Piece | Exception] = asyncio.Queue()

    def tell(item: Piece | Exception) -> None:
      with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(found.put_nowait, item)

    with self._asked(question, tell):
      while True:
        item = await found.get()
        if isinstance(item, Exception):
          raise item
        yield item
        if item.answer:
          return

  def stop(self, seconds: float = 30) -> None:
    """Takes no more questions, finishes the open ones, and ends the thread.

    Args:
      seconds: How long the open ones may take; then they end with an error.
    """
    with self._lock:
      self._stopping = True
    self._inbox.put(None)
    self._thread.join(seconds)
    self._give_up.set()
    self._inbox.put(None)
    self._thread.join(10)

  @contextlib.contextmanager
  def _asked(
    self, question: Question, tell: Callable[[Piece | Exception], None]
  ) -> Iterator[None]:
    """Gives a question to the worker; takes it back when left."""
    call = _Call(question, tell, time.monotonic() + self.seconds)
    with self._lock:
      if self._stopping:
        raise StoppingError("the service is being stopped.")
      if self.failure:
        raise ServiceError(self.failure)
      if len(self._open) >= self.capacity:
        raise BusyError(self._retry_after())
      self._open.add(call)
    self._inbox.put(call)
    try:
      yield
    finally:
      call.left = True
      self._inbox.put(None)

  def _retry_after(self) -> int:
    """Seconds until about half of those waiting have got a row."""
    took = sum(self._took) / len(self._took) if self._took else 1.0
    rounds = (self.capacity - self.num_rows) / self.num_rows / 2
    return max(1, round(took * rounds))

  def _work(self) -> None:
    """The thread: takes questions, and goes on with all answers."""
    while not self._give_up.is_set():
      if self._stopping and not self._open:
        return
      try:
        self._take(wait=self._answerer.idle)
        for piece in self._answerer.step(_STEPS):
          self._tell(piece)
      except Exception as error:  # whatever it is, nobody may be left waiting
        self._start_again(error)
    for call in list(self._open):
      self._end(call, StoppingError("the service was stopped."))

  def _take(self, wait: bool) -> None:
    """Submits what is new; takes back what was left or is too late."""
    with contextlib.suppress(queue.Empty):
      while True:
        call = self._inbox.get(block=wait)
        wait = False
        if call is not None:
          self._submit(call)
    now = time.monotonic()
    for call in list(self._open):
      if call.left or now > call.deadline:
        if call.ticket is not None:
          self._answerer.cancel(call.ticket)
        self._end(
          call, TooSlowError(f"no answer within {self.seconds:g} seconds.")
        )

  def _submit(self, call: _Call) -> None:
    """Gives a question to the answerer."""
    if call.left:
      return
    try:
      call.ticket = self._answerer.submit(call.question)
    except RequestError as error:
      self._end(call, error)

  def _tell(self, piece: Piece) -> None:
    """Passes a piece on to who asked."""
    for call in list(self._open):
      if call.ticket == piece.ticket:
        call.tell(piece)
        if piece.answer:
          self._took.append(piece.answer.seconds)
          self._end(call)

  def _end(self, call: _Call, error: Exception | None = None) -> None:
    """Forgets a call; tells it the error if there is one."""
    with self._lock:
      self._open.discard(call)
    if error is not None:
      call.tell(error)

  def _start_again(self, error: Exception) -> None:
    """Ends all open answers with an error, and makes a new engine."""
    text = f"the answer could not be made: {type(error).__name__}: {error}"
    for call in list(self._open):
      self._end(call, ServiceError(text))
    try:
      self._answerer = self._make()
    except Exception as again:  # it ends the thread, and is told to all
      self.failure = f"the service has failed: {again}"
      self._give_up.set()
