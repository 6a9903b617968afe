"""Damaged and hostile data, made from good data."""

import json

from hypothesis import strategies as st

# Counts, sizes and offsets at the borders of their types, and huge ones.
_EXTREME = (
  *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 10**6, 1 << 30),
  *((1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 36, 1 << 60, (1 << 61) - 1),
  *((1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)

_ACCIDENTS = ("flip", "number", "cut", "insert", "drop", "splice")
_ATTACKS = ("raw", "value", "key", "drop")

PATHS = (
  *("../../etc/passwd", "/etc/passwd", "..", ".", "/", "a/../../b", "~/x"),
  *("..\\..\\x", "C:\\x", "a\nb", "a\0b", "a" * 5000, "\u202e", "\ud800"),
  *("file:///etc/passwd", "$(touch x)", "`touch x`", "|touch x", "-rf"),
)
"""Names that a file from elsewhere may try."""

RAW = (
  *("null", "true", "false", "0", "-0", "-1", "1.5", "1e999", "-1e999"),
  *("1e-999", "NaN", "Infinity", "-Infinity", "9" * 5000, "9" * 400),
  *(str(value) for value in _EXTREME),
  *("0." + "1" * 5000, "[]", "{}", '""', '" "', "[null]", '{"a":1,"a":2}'),
  *("[" * 50_000 + "]" * 50_000, '{"a":' * 50_000 + "1" + "}" * 50_000),
  *("[" * 900 + "]" * 900, "[" * 50_000, "[" + "0," * 50_000 + "0]"),
  *('"' + "a" * 300_000 + '"', r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"'),
  *('"\\', '"\\u12', "1e", "tru", "'a'", "/* a */", "\x00", "\ufeff"),
  *(json.dumps(path) for path in PATHS),
)
"""JSON values, and some texts that are none."""


def _places(size: int) -> st.SearchStrategy[int]:
  """Places in data; the first bytes, where headers are, come more often."""
  return st.integers(0, min(size, 200)) | st.integers(0, size)


@st.composite
def damaged(draw, seeds: list[bytes]) -> bytes:
  """One of the seeds after some accidents and attacks."""
  data = bytearray(draw(st.sampled_from(seeds)))
  for _ in range(draw(st.integers(0, 4))):
    at = draw(_places(len(data)))
    match draw(st.sampled_from(_ACCIDENTS)):
      case "flip":
        for place in draw(st.lists(_places(len(data)), max_size=8)):
          if place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
      case "number":
        width = draw(st.sampled_from((1, 2, 4, 8)))
        value = draw(st.sampled_from(_EXTREME)) % (1 << 8 * width)
        order = draw(st.sampled_from(("little", "big")))
        data[at : at + width] = value.to_bytes(width, order)
      case "cut":
        del data[at:]
      case "insert":
        data[at:at] = draw(st.binary(max_size=40))
      case "drop":
        del data[at : at + draw(st.integers(1, 100))]
      case "splice":
        other = draw(st.sampled_from(seeds))
        start = draw(_places(len(other)))
        data[at:at] = other[start : start + draw(st.integers(1, 400))]
  return bytes(data)


_values = st.one_of(
  st.none(),
  st.booleans(),
  st.integers(),
  st.floats(),
  st.text(max_size=20),
  st.sampled_from(PATHS),
  st.lists(st.integers(), max_size=3),
  st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def _inside(value: object, at: tuple = ()) -> list[tuple]:
  """Paths of all values in a JSON value, but of its whole."""
  keys = (
    value
    if isinstance(value, dict)
    else range(len(value))
    if isinstance(value, list)
    else ()
  )
  found = []
  for key in keys:
    found += [(*at, key), *_inside(value[key], (*at, key))]
  return found


@st.composite
def hostile_json(draw, seeds: list[object], most: int = 4) -> bytes:
  """Text of one of the JSON values after attacks on its values and keys."""
  value = json.loads(json.dumps(draw(st.sampled_from(seeds))))
  raw = {}
  for number in range(draw(st.integers(0, most))):
    paths = _inside(value)
    if not paths:
      break
    *parents, last = draw(st.sampled_from(paths))
    place = value
    for key in parents:
      place = place[key]
    match draw(st.sampled_from(_ATTACKS)):
      case "raw":
        mark = f"@raw {number}@"
        raw[mark] = draw(st.sampled_from(RAW))
        place[last] = mark
      case "value":
        place[last] = draw(_values)
      case "key" if isinstance(place, dict):
        place[draw(st.text(max_size=9) | st.sampled_from(PATHS))] = place[last]
      case "drop":
        del place[last]
  text = json.dumps(value)
  for mark, instead in raw.items():
    text = text.replace(json.dumps(mark), instead)
  data = text.encode("utf-8", errors="surrogatepass")
  if draw(st.integers(0, 3)) == 0:
    data = draw(damaged([data]))
  return data
