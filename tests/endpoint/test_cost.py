"""What asking costs."""

import pytest

from ltu_jax.endpoint import cost
from ltu_jax.endpoint.errors import EndpointError


def test_prices():
  prices = cost.Prices.parse("2.5, 10")
  assert prices == cost.Prices(2.5, 10.0)
  # 2 million at 2.5 and half a million at 10.
  assert prices.cost((2_000_000, 500_000)) == 10.0


@pytest.mark.parametrize(
  "text", ["", "1", "1,2,3", "a,b", "-1,2", "1,nan", "inf,1"]
)
def test_prices_that_are_none(text):
  with pytest.raises(EndpointError, match="prices"):
    cost.Prices.parse(text)


def test_estimate():
  found = cost.estimate(
    [[{"content": "a" * 400}], [{"content": "b" * 800}]], max_tokens=16
  )
  assert (found.requests, found.said) == (2, 32)
  assert found.asked == 2 * cost.message_tokens("") + 100 + 200
  assert "no prices" in found.line(None)
  assert "0.00" in found.line(cost.Prices(1, 1))


def test_texts_of_any_kind_have_a_size():
  assert cost.message_tokens("\ud800") > 0
  assert cost.message_tokens("") > 0
