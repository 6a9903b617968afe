"""The tokenizer against PTBTokenizer, which pycocoevalcap runs in Java."""

# Signs that look like others are what is tested.
# ruff: noqa: RUF001

import random
import string

import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from ltu_jax.evaluate.captions.tokenizer import tokenize

_WRITTEN = """
A man's dog doesn't bark; it can't. I'll go, we've gone, they're here, he'd left
Don't DON'T Won't shan't wouldn't've I'd've y'all it'll should've what's who're
IT'S the dogs' barks, James' dog, the '80s, 1980's, the a's and b's, 'n't', 's
cannot Cannot gonna gotta wanna lemme gimme dunno 'tis 'Twas whatcha a-gonna
rock'n'roll rock 'n' roll fish 'n chips o'clock O'Clock ma'am d'oh ne'er 'em
goin' on, ol' dog, 'til then, 'cause, li'l, O'Brien's, man-of-war's, more'n
A high-pitched sound, back-and-forth, 10-second beep, mid-1990s, x-5, T-shirts
a dog - barking -- loudly --- and then-- 5 - 3, -5, +5, 10-15, well--known
3.5 1,000 1,000.50 .5 10:30 1/2 24/7 1st 2nd 12kHz 5dB 1.5x 0.5s 10:30pm 4x4
$5 $5.00 £5 €5 5¢ 50% 20-30% #1 & co. 1/2/2020 2020-01-01 555-1234 1e5
Mr. Smith, Dr. No, etc. U.S. and U.K., a.m. p.m. vs. St. John, e.g. i.e. Ph.D.
birds chirping, etc.
"hello" “hello” ‘hi’ it’s “don’t” ``x'' `y' «oui» 'hello there' "well," he said
— – … ... .... , a...  b. hmm... what?! wow!! no? yes!
( [ { } ] ) (dog) dog(s) [noise] {x} < > <b> </b> a < b
* ** / // \\ | ~ ^ _ = + @ # & % a*b a|b a=b a+b a_b a&b AT&T R&B
and/or him/herself dog/cat/bird, AC/DC
café naïve Ünïcode ÉTÉ Straße 日本語 한국어 русский ΑΒΓ Ωmega Οδός
e\u0301te\u0301
soft\u00adhyphen no\u00a0break zero\u200bwidth ½ ¼ ¾ 20°C ± × ÷ § © ™ µ ² → ★ ☃
emoji 😀 dog😀cat 🐕‍🦺 👍🏽
http://www.foo.com/a?b=1 foo@bar.com www.foo.com foo.com @user #tag
:) :-) ;) :D :P
a&amp;b &quot;hi&quot; &lt; &gt;
C++ C# F# A+ B-52 MP3 mp3 TV
"""

_WORDS = """
a the dog barks man speaking engine rain loudly and then birds chirping water
café naïve 日本語 3 10 1980s 2nd 40 kHz A I T can not cannot gonna it its don't
it's they're man's dogs' o'clock 'n' & Mr. etc. vs. a.m. e.g. U.S. TV AC/DC
rock'n'roll high-pitched back-and-forth 10-second 3.5 1,000 10:30 ½ beep! (loud)
"hello" “hi” ‘yes’ it’s — – … -- ... 50% $5 #1 and/or woman's [noise] don’t
whoosh* can't we'd I'm 'hello' mid-1990s B-52 T-shirt 4x4 mp3 °C 20°C £5 €5 😀
"""
_BETWEEN = [" "] * 14 + [", ", "; ", ": ", " - ", " (", ") ", "! ", "? "]
_BETWEEN += [' "', '" ', "... ", " ... ", ".\n"]


def _written() -> list[str]:
  lines = [line for line in _WRITTEN.splitlines() if line.strip()]
  # Each word by itself, too.
  return lines + [word for line in lines for word in line.split()]


def _random(count: int) -> list[str]:
  rng = random.Random(5)
  words = _WORDS.split()
  return [
    "".join(
      rng.choice(words) + rng.choice(_BETWEEN)
      for _ in range(rng.randint(1, 10))
    )
    for _ in range(count)
  ]


def _cleaned(count: int) -> list[str]:
  """Words without ASCII punctuation, as the published clean-up leaves them."""
  rng = random.Random(6)
  table = str.maketrans("", "", string.punctuation)
  # Three numbers in a row are taken for a telephone number.
  words = [w for w in _WORDS.translate(table).split() if not w[0].isdecimal()]
  return [
    " ".join(rng.choices(words, k=rng.randint(1, 14))).lower()
    for _ in range(count)
  ]


_CASES = {
  "written": _written(),
  "random": _random(1500),
  "cleaned": _cleaned(1500),
}


@pytest.fixture(scope="module")
def theirs():
  """What Java makes of all captions, in one run of it.

  A plain last line keeps Java from looking for the one after it.
  """
  captions = {
    name: [{"caption": text} for text in texts]
    for name, texts in _CASES.items()
  }
  return PTBTokenizer().tokenize(captions | {"end": [{"caption": "end"}]})


@pytest.mark.parametrize("case", _CASES)
def test_same_as_java(theirs, case):
  assert len(theirs[case]) == len(_CASES[case])
  differ = [
    (text, java, tokenize(text))
    for text, java in zip(_CASES[case], theirs[case], strict=True)
    # Java joins some numbers with no-break spaces.
    if tokenize(text) != java.replace("\xa0", " ")
  ]
  assert differ == []


@pytest.mark.parametrize("text", ["", " ", "...", "\n", "\u2028", "😀", "'\"'"])
def test_nothing_is_left(text):
  assert tokenize(text) == ""


def test_every_line_end_is_a_space():
  text = "a\nb\rc\r\nd\x0be\x0cf\x85g\u2028h\u2029i\tj"
  # In windows-1252, \x85 is an ellipsis, and so it is to Java.
  assert tokenize(text) == "a b c d e f g h i j"


def test_tokens_do_not_change_again():
  for text in _cleaned(300):
    assert tokenize(tokenize(text)) == tokenize(text)
