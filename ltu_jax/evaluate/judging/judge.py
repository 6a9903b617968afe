"""Judges responses, several at once, and asks nothing twice."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ltu_jax.endpoint import asking, cost
from ltu_jax.endpoint.chat import Chat, Said
from ltu_jax.endpoint.errors import NoReplyError
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.judging import prompt, verdicts
from ltu_jax.evaluate.judging.verdicts import VerdictsFile
from ltu_jax.progress import Tell

_Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class JudgeSettings(asking.Settings):
  """Who judges, and how much.

  Attributes:
    max_tokens: Of a verdict; a judge that thinks first needs hundreds.
    limit: Judge only the first so many pairs; None for all.
  """

  max_tokens: int = 16
  limit: int | None = None

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
    EvaluateError: It would cost too much; verdicts that came before are kept.
    EndpointError: No request can succeed; the same.
  """
  pairs = list(pairs)[: settings.limit]
  keys = [verdicts.digest(settings.model, *pair) for pair in pairs]
  failed: Mapping[str, str] = {}
  with VerdictsFile(store) as file:
    new = {
      key: pair
      for key, pair in zip(keys, pairs, strict=True)
      if key not in file
    }
    if new:
      _check_cost(list(new.values()), settings, tell)
      failed = _ask_all(new, len(set(keys)), settings, file, tell)
    return [_verdict(file.get(key), failed.get(key, "")) for key in keys]


def _check_cost(
  pairs: Sequence[_Pair], settings: JudgeSettings, tell: Tell
) -> None:
  """Tells the estimate, and raises EvaluateError if that is too much."""
  estimate = cost.estimate(map(_messages, pairs), settings.max_tokens)
  tell(f"judge {settings.model}: {estimate.line(settings.prices)}")
  if settings.max_cost is None:
    return
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
  name = f"judge {settings.model}"
  client = settings.client()
  chat = Chat(client, settings.model, settings.max_tokens)
  work = asking.Work(
    name,
    new.items(),
    total,
    total - len(new),
    ask=lambda pair: _ask(chat, pair, settings),
    keep=lambda key, pair, said: file.add(key, settings.model, *pair, said),
    most=lambda pair: (
      cost.messages_tokens(_messages(pair)),
      settings.max_tokens,
    ),
  )
  try:
    ended = asking.ask_all(work, settings, tell)
  finally:
    client.close()
  if ended.is_held:
    raise EvaluateError(
      f"{name}: has cost {ended.spent:.4g}, and the next might be over the "
      f"{settings.max_cost:g} that it may. What is done is kept; the same "
      "command goes on from there."
    )
  if len(ended.failed) == total:
    raise EvaluateError(next(iter(ended.failed.values())))
  return ended.failed


def _messages(pair: _Pair) -> list[dict[str, str]]:
  """What is sent about a pair."""
  return [{"role": "user", "content": prompt.message(*pair)}]


def _ask(chat: Chat, pair: _Pair, settings: JudgeSettings) -> Said:
  """Asks about a pair; raises NoReplyError."""
  said = chat.ask(_messages(pair))
  if said.finish == "length" and prompt.is_cut(said.text):
    raise NoReplyError(
      f"{settings.model}: had written all {settings.max_tokens} tokens that it "
      "may before it said anything but thoughts; let it write more.",
      lasting=False,
    )
  return said


def _verdict(said: str | None, error: str) -> Verdict:
  """What became of a pair."""
  if said is None:
    return Verdict("", error=error)
  return Verdict(prompt.read(said), said)
