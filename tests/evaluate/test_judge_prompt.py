"""What judges say, and what it means to a reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltu_jax.evaluate.judging import prompt


@pytest.mark.parametrize(
  "said",
  [
    "yes",
    "Yes.",
    "YES!",
    " \n yes",
    "**Yes**",
    "*yes*",
    "__Yes__",
    "`yes`",
    '"Yes"',
    "\N{LEFT DOUBLE QUOTATION MARK}Yes.\N{RIGHT DOUBLE QUOTATION MARK}",
    "[[Yes]]",
    "<answer>yes</answer>",
    "- yes",
    "> Yes",
    "# Yes",
    "(yes)",
    "yes, because it names the instrument.",
    "Yes - the response answers it.",
    "Yes\n\nThe response says that there is no dog.",
    "Yes, there is an answer: no.",
    "Answer: yes",
    "The answer is yes.",
    "My verdict: **Yes**",
    "Final judgment: Yes, it does.",
    "Final judgement - YES",
    '{"answer": "yes"}',
    '```json\n{"verdict": "Yes"}\n```',
    "The response names an instrument, as asked. Yes.",
    "It names an instrument.\n\nYes",
    "<think>No? Let me see. no.</think>\n\nYes",
    "<thinking>\nno\n</thinking>yes",
  ],
)
def test_yes(said):
  assert prompt.read(said) == prompt.YES


@pytest.mark.parametrize(
  "said",
  [
    "no",
    "No.",
    "**No**",
    "no, because it speaks of something else",
    "No. The response says yes to another question.",
    "Answer: No",
    "The answer is: no.",
    "The verdict would be no.",
    "It speaks of a cat where a dog is asked about. No.",
    "<think>Yes, yes, yes.</think>No",
    "It depends. Yes.\nOr rather: No.",
    "It speaks of a cat. " * 500 + "No.",
  ],
)
def test_no(said):
  assert prompt.read(said) == prompt.NO


@pytest.mark.parametrize(
  "said",
  [
    "",
    "...",
    "Maybe.",
    "I cannot hear the sound.",
    "Yes and no.",
    "yes or no",
    "Yes/No",
    "No, yes",
    "Yesterday",
    "Nothing in it does.",
    "Norway",
    "Not quite.",
    "No doubt it does.",
    "No idea.",
    "The response answers the question.",
    "There is no answer in it, no question about that",
    "There is an answer. No question is left open.",
    "The answer is no problem to find.",
    "First answer: yes. Second answer: no.",
    "<think>Yes, it does",
    "<think>yes</think>",
  ],
)
def test_neither(said):
  assert prompt.read(said) == prompt.UNCLEAR


@given(st.text())
def test_any_text_has_a_verdict(said):
  assert prompt.read(said) in (prompt.YES, prompt.NO, prompt.UNCLEAR)


def test_long_texts_are_read_at_once():
  # A minute, were all of them read: patterns go back over what they matched.
  for part in ("<think>", "answer ", "no ", "* ", ".\n", "answer is is "):
    prompt.read(part * 20_000 + "x")


@given(st.text(), st.text())
def test_message_has_both_texts(question, response):
  text = prompt.message(question, response)
  before, after = prompt.PROMPT.split("{question}")
  assert text.startswith(before + question.strip())
  assert text.endswith(response.strip() + after.split("{response}")[1])


@pytest.mark.parametrize(
  "said, cut", [("", True), (" <think>hm", True), ("I", False)]
)
def test_is_cut(said, cut):
  assert prompt.is_cut(said) is cut
