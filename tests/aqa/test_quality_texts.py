"""The gates that look at one question and its answer alone."""

import pytest

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality import phrases as phrases_lib
from ltu_jax.aqa.quality import texts
from ltu_jax.aqa.quality.flag import Kind, kind_of
from ltu_jax.aqa.quality.language import foreign
from tfds_builders.openaqa.full import entries

PHRASES = phrases_lib.load()

# Article 1 of the Universal Declaration of Human Rights.
ENGLISH = (
  "All human beings are born free and equal in dignity and rights. They are"
  " endowed with reason and conscience and should act towards one another in a"
  " spirit of brotherhood."
)
FOREIGN = {
  "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren."
  " Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geist der"
  " Brüderlichkeit begegnen.",
  "French": "Tous les êtres humains naissent libres et égaux en dignité et en"
  " droits. Ils sont doués de raison et de conscience et doivent agir les uns"
  " envers les autres dans un esprit de fraternité.",
  "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y"
  " derechos y, dotados como están de razón y conciencia, deben comportarse"
  " fraternalmente los unos con los otros.",
  "Portuguese": "Todos os seres humanos nascem livres e iguais em dignidade e"
  " em direitos. Dotados de razão e de consciência, devem agir uns para com os"
  " outros em espírito de fraternidade.",
  "Dutch": "Alle mensen worden vrij en gelijk in waardigheid en rechten"
  " geboren. Zij zijn begiftigd met verstand en geweten, en behoren zich"
  " jegens elkander in een geest van broederschap te gedragen.",
  "Indonesian": "Semua orang dilahirkan merdeka dan mempunyai martabat dan"
  " hak-hak yang sama. Mereka dikaruniai akal dan hati nurani dan hendaknya"
  " bergaul satu sama lain dalam semangat persaudaraan.",
  "Russian": "Все люди рождаются свободными и равными в своем достоинстве.",  # noqa: RUF001
  "Chinese": "人人生而自由,在尊严和权利上一律平等。",
  "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι.",  # noqa: RUF001
}


def gates(question, answer, kind=Kind.OPEN, limits=None):
  limits = limits or texts.Limits()
  found = texts.flags(kind, question, answer, limits, PHRASES)
  return {flag.gate: flag.reason for flag in found}


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_are_seen(language):
  assert foreign(FOREIGN[language])
  assert gates("What is said in the clip?", FOREIGN[language])["language"]
  assert gates(FOREIGN[language], "A man speaks.")["language"]


@pytest.mark.parametrize(
  "text",
  [
    ENGLISH,
    # Captions as people write them, short ones, names, and signs.
    "Dogs bark, birds chirp, children laugh loudly nearby",
    "A man is speaking while a vehicle engine is idling and then accelerates",
    "A door creaks as someone slowly opens it, and footsteps follow it inside",
    "A singer performs \u201cÀ la claire fontaine\u201d and the crowd claps",
    "It is 10 \u00b0C; the \u03b1 rhythm is near 10 Hz",
    "Wind.",
    "",
    "123 !?",
  ],
)
def test_english_is_not_flagged(text):
  assert foreign(text) is None


def test_what_the_language_gate_cannot_see():
  assert foreign("Ein Hund bellt im Garten.") is None
  assert foreign(f"{ENGLISH} {FOREIGN['German'][:60]}") is None


@pytest.mark.parametrize("phrase", entries.UNANSWERABLE_PHRASES)
def test_what_the_published_filter_drops_is_unanswerable(phrase):
  answer = f"The mood is {phrase.upper()} by the audio."
  assert entries.is_unanswerable(answer)
  assert "unanswerable" in gates("What is the mood of it?", answer)
  assert "unanswerable" not in gates(answer, "The mood is gloomy.")


@pytest.mark.parametrize(
  "answer",
  [
    "It can\u2019t be determined.",
    "The place is not\n  mentioned.",
    "As an AI language model, I hear nothing.",
    "It is hard to say who speaks.",
  ],
)
def test_what_else_is_unanswerable(answer):
  assert not entries.is_unanswerable(answer)
  assert "unanswerable" in gates("Who is it that speaks?", answer)


@pytest.mark.parametrize(
  "text",
  [
    "According to the caption a dog barks.",
    "The dog, as the Description  says, barks.",
    "The sound events suggest a farm.",
    "Its acoustic features are soft.",
    "The dog barks [0.0s-1.2s] and again.",
    "The dog barks from 0.0s to 1.2s.",
    "It barks at 3.4 seconds.",
    "It barks between 2 and 3.5 seconds into it.",
    "It barks from 0 to 10 seconds.",
    "It barks (2s-3s).",
    "It barks at 0:03 and then stops.",
    "It barks 3.4s in.",
  ],
)
def test_leaks_are_seen_in_question_and_answer(text):
  assert "leak" in gates("What does the dog do?", text)
  assert "leak" in gates(text, "The dog barks.")


@pytest.mark.parametrize(
  "text",
  [
    "It lasts for about 3 seconds.",
    "It takes 2 to 3 seconds to fade, between two loud barks.",
    "The music is from the 1980s, from 1 to 2 decades before.",
    "A train leaves at 7:30 in the morning.",
    "He gives a description of a captain's label.",
    "It has 2.5 times the pitch.",
  ],
)
def test_what_can_be_heard_is_no_leak(text):
  assert "leak" not in gates("What does the dog do?", text)


def test_lengths_are_of_words():
  limits = texts.Limits((3, 5), (2, 4))
  length = lambda *qa: gates(*qa, limits=limits).get("length", "")
  assert length("a b c", "a b") == length("a, b-c d e!", "it's a b c") == ""
  assert length("a b", "a b") == "question has fewer than 3 words"
  assert length("a b c d e f", "a b") == "question has more than 5 words"
  assert length("a b c", "...") == "answer has fewer than 2 words"
  assert length("a b c", "a b c d e") == "answer has more than 4 words"


def test_closed_ended_questions_are_exempt():
  times = "[0.0s-1.2s, 3.4s-5.0s]"
  for task in ("cla_label", "cla_label_des", "temporal_single", "temporal_all"):
    assert kind_of(task) is Kind.LABELS
    assert gates("When?", times, kind_of(task)) == {}
    assert gates("When?", FOREIGN["Russian"], kind_of(task)) == {}
  assert kind_of("caption") is Kind.CAPTION
  found = gates("Describe it.", "Unclear.", Kind.CAPTION)
  assert set(found) == {"length"}
  assert "language" in gates("Tell it, do.", FOREIGN["Dutch"], Kind.CAPTION)
  assert kind_of("open-ended question") is kind_of("unknown") is Kind.OPEN


def test_own_phrases_are_added(tmp_path):
  path = tmp_path / "own.txt"
  path.write_text("[leak]\nThe Prompt\n", encoding="utf-8")
  own = phrases_lib.load(path)
  assert own.leak.find("as the prompt has it") == "the prompt"
  assert own.leak.find("metadata") and PHRASES.leak.find("the prompt") is None
  path.write_text("[leaks]\nx\n")
  with pytest.raises(AqaError, match=r"no section \[leaks\]"):
    phrases_lib.load(path)
  with pytest.raises(AqaError, match=r"none\.txt: cannot be read"):
    phrases_lib.load(tmp_path / "none.txt")
