"""The prompt around a question: template `alpaca_short` of the published code.

The text must be equal to the last character to what a published model was
trained on; tests hold it against prompts of the published code.
"""

from collections.abc import Sequence


def build_prompt(instruction: str, input: str = "") -> str:
  """Returns the prompt that the model continues with its answer.

  Args:
    instruction: The question, kept as it is (spaces included).
    input: More text that belongs to the question; empty in all of OpenAQA,
      where the audio takes its place.

  Returns:
    The prompt; it ends with a new line, after which the answer begins.
  """
  asked = with_input(instruction, input)
  return f"### Instruction:\n{asked}\n\n### Response:\n"


def with_input(instruction: str, input: str) -> str:
  """Returns a question with the text that belongs to it, as one question."""
  return f"{instruction}\n\n### Input:\n{input}" if input else instruction


def build_dialogue(before: Sequence[tuple[str, str]], instruction: str) -> str:
  """Returns the prompt of a question that follows others on the same clip.

  The published model was trained on single questions, and nobody published a
  form of dialogues; this one repeats the template, one exchange after the
  other, so that a later question begins with all of an earlier one's text.

  Args:
    before: (question, answer) pairs so far, oldest first.
    instruction: The question.
  """
  said = (build_full_text(q, "", a) + "\n\n" for q, a in before)
  return "".join(said) + build_prompt(instruction)


def build_full_text(instruction: str, input: str, output: str) -> str:
  """Returns the prompt with its answer, the text of a training example."""
  return build_prompt(instruction, input) + output
