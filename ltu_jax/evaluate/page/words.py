"""Numbers and settings as a report writes them."""

from collections.abc import Mapping
from typing import Any

_MINUS = "\u2212"


def percent(value: float | None) -> str:
  """A fraction in percent with one digit; "" for None."""
  # Without adding zero, what rounds to it might have a sign.
  return ("" if value is None else f"{round(100 * value, 1) + 0:.1f}").replace(
    "-", _MINUS
  )


def points(difference: float) -> str:
  """A difference of fractions in points of percent, with its sign."""
  return signed(100 * difference)


def signed(number: float) -> str:
  """A number with one digit and its sign; none for what rounds to zero."""
  text = f"{number:+.1f}"
  return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", _MINUS)


def interval(low: float | None, high: float | None) -> str:
  """The ends of an interval of fractions, in percent."""
  if low is None or high is None:
    return ""
  return f"{percent(low)} to {percent(high)}"


def amount(value: Any) -> int | None:
  """A number of items, or that of a list of them; None if it is neither."""
  if isinstance(value, int):
    return value
  return len(value) if isinstance(value, list | tuple) else None


def asked(data: Mapping[str, Any]) -> str:
  """On how many of its items a set was asked."""
  items, total = amount(data.get("items")), amount(data.get("total"))
  if items is None:
    return ""
  return f"on {items:,}" + ("" if total is None else f" of {total:,}")


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
  """Settings with those within others named by a dotted path."""
  out = {}
  for key, value in values.items():
    if isinstance(value, Mapping) and value:
      out |= flat(value, f"{before}{key}.")
    else:
      out[f"{before}{key}"] = value
  return out


def shown(value: Any, most: int = 300) -> str:
  """A setting as text, cut where it is long."""
  if isinstance(value, list | tuple):
    value = ", ".join(str(x) for x in value)
  text = str(value)
  return text if len(text) <= most else text[: most - 1] + "…"
