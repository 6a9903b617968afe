"""Judges responses, several at once, and asks nothing twice."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ltu_jax.evaluate import endpoint
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.judging import cost, prompt, verdicts
from ltu_jax.evaluate.judging.asking import Asker
from ltu_jax.evaluate.judging.pool import Pool
from ltu_jax.evaluate.judging.verdicts import Said, VerdictsFile
from ltu_jax.evaluate.progress import Progress, Tell

_MOST_FAILURES = 10
"""So many requests in a row without an answer: it will not get better."""

_Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class JudgeSettings:
  """Who judges, and how much.

  Attributes:
    model: The judge's name on its server.
    base_url: Of the server's API; None is OpenAI's (see endpoint.client).
    key_name: Environment variable that has the key.
    workers: Requests at once.
    max_tokens: Of a verdict; a judge that thinks first needs hundreds.
    prices: Of a million tokens; None if they are not known.
    max_cost: What this run may cost, in the prices' currency; None for any.
    limit: Judge only the first so many pairs; None for all.
    retries: See endpoint.client.
    timeout: Seconds of a request.
  """

  model: str
  base_url: str | None = None
  key_name: str = "OPENAI_API_KEY"
  workers: int = 8
  max_tokens: int = 16
  prices: cost.Prices | None = None
  max_cost: float | None = None
  limit: int | None = None
  retries: int = endpoint.RETRIES
  timeout: float = endpoint.TIMEOUT

  def as_json(self) -> dict[str, Any]:
    """What verdicts depend on, for a result's settings."""
    return {
      "model": self.model,
      "prompt": prompt.PROMPT,
      "prompt_source": prompt.SOURCE,
      "temperature": 0,
      "max_tokens": self.max_tokens,
      "limit": self.limit,
    }


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What became of one pair.

  Attributes:
    verdict: YES, NO or UNCLEAR of prompt.py; "" if the judge did not answer.
    said: The judge's words.
    error: Why it did not answer; "" if it did.
  """

  verdict: str
  said: str = ""
  error: str = ""


@dataclasses.dataclass(frozen=True)
class Tally:
  """Verdicts, counted.

  Attributes:
    yes: Responses that answer their question.
    no: Those that do not.
    unclear: Those of which the judge said neither; they count as no.
    failed: Those that it did not judge; they count as nothing.
  """

  yes: int
  no: int
  unclear: int
  failed: int

  @classmethod
  def of(cls, found: Sequence[Verdict]) -> "Tally":
    """Counts."""
    said = [v.verdict for v in found]
    return cls(*map(said.count, (prompt.YES, prompt.NO, prompt.UNCLEAR, "")))

  @property
  def rate(self) -> float | None:
    """Share of yes, the instruction following rate; None of nothing."""
    judged = self.yes + self.no + self.unclear
    return self.yes / judged if judged else None


def judge(
  pairs: Sequence[_Pair],
  settings: JudgeSettings,
  store: pathlib.Path,
  tell: Tell,
) -> list[Verdict]:
  """Asks a judge whether responses answer their questions.

  Args:
    pairs: (question, response); pairs that are the same are asked once.
    settings: Who judges.
    store: The file of verdicts, OUT/SET.verdicts.jsonl. What is there is not
      asked again; what is new is added as it comes.
    tell: Takes a line: first the estimate, then the progress.

  Returns:
    One for each pair, in order; of the first `limit` if that is given.

  Raises:
    EvaluateError: It would cost too much, or no request can succeed; verdicts
      that came before are kept.
  """
  pairs = list(pairs)[: settings.limit]
  keys = [verdicts.digest(settings.model, *pair) for pair in pairs]
  failed: Mapping[str, str] = {}
  with VerdictsFile(store) as file:
    new = {
      key: pair
      for key, pair in zip(keys, pairs, strict=True)
      if file.get(key) is None
    }
    if new:
      _check_cost(list(new.values()), settings, tell)
      failed = _ask_all(new, len(set(keys)), settings, file, tell)
    return [_verdict(file.get(key), failed.get(key, "")) for key in keys]


def _check_cost(
  pairs: Sequence[_Pair], settings: JudgeSettings, tell: Tell
) -> None:
  """Tells the estimate, and raises EvaluateError if that is too much."""
  messages = (prompt.message(*pair) for pair in pairs)
  estimate = cost.estimate(messages, settings.max_tokens)
  tell(f"judge {settings.model}: {estimate.line(settings.prices)}")
  if settings.max_cost is None:
    return
  if settings.prices is None:
    raise EvaluateError(
      "a judge's highest cost is given but no prices: give those, too."
    )
  if (expected := estimate.cost(settings.prices)) > settings.max_cost:
    raise EvaluateError(
      f"judge {settings.model}: may cost {expected:.4g}, which is over the "
      f"{settings.max_cost:g} that it may; allow that, or judge fewer."
    )


def _ask_all(
  new: Mapping[str, _Pair],
  total: int,
  settings: JudgeSettings,
  file: VerdictsFile,
  tell: Tell,
) -> dict[str, str]:
  """Asks; returns why there is no verdict, by key, where there is none."""
  client = endpoint.client(
    settings.base_url,
    settings.key_name,
    retries=settings.retries,
    timeout=settings.timeout,
  )
  asker = Asker(client, settings.model, settings.max_tokens)
  pool = Pool(new, asker.ask, settings.workers)
  run = _Run(new, settings, file, pool.stop)
  progress = Progress(f"judge {settings.model}", total, total - len(new), tell)
  try:
    for key, outcome in pool.outcomes():
      progress.advance(run.take(key, outcome))
  finally:
    # What was paid for is kept, also after Ctrl-C.
    for key, outcome in pool.rest():
      if isinstance(outcome, Said):
        run.take(key, outcome)
    client.close()
  progress.end()
  run.end(total)
  return run.failed


class _Run:
  """Keeps what comes in, and sees when to stop.

  Attributes:
    failed: Why there is no verdict, by key.
  """

  def __init__(
    self,
    new: Mapping[str, _Pair],
    settings: JudgeSettings,
    file: VerdictsFile,
    stop: Callable[[], None],
  ):
    """Nothing has come in.

    Args:
      new: What is asked.
      settings: Who judges.
      file: Where verdicts are kept.
      stop: Has nothing more be sent.
    """
    self._new, self._settings, self._file = new, settings, file
    self._stop = stop
    self._kept, self._in_a_row, self._spent = 0, 0, 0.0
    self.failed: dict[str, str] = {}

  def take(self, key: str, outcome: Said | BaseException) -> str:
    """Keeps one outcome.

    Returns:
      What is wrong with it, "" if nothing.

    Raises:
      EvaluateError: There is no use in asking on.
    """
    if isinstance(outcome, Said):
      self._kept, self._in_a_row = self._kept + 1, 0
      self._file.add(key, self._settings.model, *self._new[key], outcome)
      self._spend(outcome)
      return ""
    if not isinstance(outcome, endpoint.EndpointError) or outcome.lasting:
      raise outcome
    self.failed[key] = str(outcome)
    self._in_a_row += 1
    if self._in_a_row == _MOST_FAILURES:
      raise EvaluateError(f"{outcome} So ended {_MOST_FAILURES} in a row.")
    return str(outcome)

  def end(self, total: int) -> None:
    """All that was sent has come in.

    Args:
      total: Pairs, with those that were judged before.

    Raises:
      EvaluateError: It was stopped for its cost, or there is no verdict at all.
    """
    if self._kept + len(self.failed) < len(self._new):
      raise EvaluateError(
        f"judge {self._settings.model}: has cost {self._spent:.4g}, which is "
        f"over the {self._settings.max_cost:g} that it may. What is done is "
        "kept; the same command goes on from there."
      )
    if len(self.failed) == total:
      raise EvaluateError(next(iter(self.failed.values())))

  def _spend(self, said: Said) -> None:
    """Counts the cost; after too much of it nothing more is sent."""
    if self._settings.prices:
      self._spent += self._settings.prices.cost(said.tokens)
    if self._is_over():
      self._stop()

  def _is_over(self) -> bool:
    """Whether it has cost too much."""
    limit = self._settings.max_cost
    return limit is not None and self._spent > limit


def _verdict(said: str | None, error: str) -> Verdict:
  """What became of a pair."""
  if said is None:
    return Verdict("", error=error)
  return Verdict(prompt.read(said), said)
