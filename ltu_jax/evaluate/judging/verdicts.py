"""The file of verdicts: what a judge said of which response."""

from ltu_jax.endpoint import kept
from ltu_jax.endpoint.chat import Said
from ltu_jax.evaluate.judging import prompt


def digest(model: str, question: str, response: str) -> str:
  """Names what is asked of whom, in hexadecimal digits."""
  return kept.digest(model, prompt.PROMPT, question, response)


class VerdictsFile(kept.KeptFile):
  """A file of verdicts, locked while it is open."""

  def get(self, key: str) -> str | None:
    """What the judge said, None if it was not asked."""
    line = self.line(key)
    return line and line["said"]

  def add(
    self, key: str, model: str, question: str, response: str, said: Said
  ) -> None:
    """Writes a line.

    Args:
      key: The digest of the next three.
      model: Who was asked.
      question: About which question.
      response: About which response.
      said: What it said.

    Raises:
      EndpointError: The disk fails or is full.
    """
    values = {
      "model": model,
      "verdict": prompt.read(said.text),
      "said": said.text,
      "question": question,
      "response": response,
      "tokens": said.tokens,
      "options": said.options,
    }
    self.write(key, values)
