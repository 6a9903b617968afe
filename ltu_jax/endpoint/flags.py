"""Command-line flags of those who ask a server."""

import argparse
import math

from ltu_jax.endpoint import client as client_lib
from ltu_jax.endpoint.asking import Settings
from ltu_jax.endpoint.cost import Prices
from ltu_jax.endpoint.errors import EndpointError


def prices(text: str) -> Prices:
  """Reads two prices, as argparse wants it."""
  try:
    return Prices.parse(text)
  except EndpointError as error:
    raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
  """Reads a number of 1 or more."""
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{value}: it must be 1 or more")
  return value


def amount(text: str) -> float:
  """Reads a number of 0 or more."""
  value = float(text)
  if not 0 <= value < math.inf:
    raise argparse.ArgumentTypeError(f"{text}: it must be 0 or more")
  return value


def add(parser: argparse.ArgumentParser) -> None:
  """Adds the flags that `settings` reads."""
  flag = parser.add_argument_group("the model and its server").add_argument
  flag("--model", required=True, metavar="NAME", help="as its server calls it")
  flag(
    "--base_url",
    metavar="URL",
    help="OpenAI-compatible, such as http://localhost:8000/v1; default: "
    "OPENAI_BASE_URL of the environment, or OpenAI's own",
  )
  flag(
    "--key_name",
    metavar="NAME",
    default="OPENAI_API_KEY",
    help="environment variable with the key; a server of the local network may "
    "do without; default: %(default)s",
  )
  flag(
    "--workers",
    type=positive,
    default=Settings.workers,
    help="requests at once; default: %(default)s",
  )
  flag(
    "--retries",
    type=int,
    default=client_lib.RETRIES,
    help="of a request that finds the server busy or failing, after growing "
    "waits or those that it asks for; default: %(default)s",
  )
  flag(
    "--timeout",
    type=amount,
    default=client_lib.TIMEOUT,
    help="seconds of a request; default: %(default)g",
  )
  flag(
    "--prices",
    type=prices,
    metavar="IN,OUT",
    help="of a million tokens, for the cost",
  )
  flag(
    "--max_cost",
    type=amount,
    help="what all replies in the folder may cost together at these prices; "
    "nothing is sent that might cost more",
  )


def settings(args: argparse.Namespace) -> Settings:
  """Who is asked.

  Raises:
    EndpointError: See Settings.
  """
  return Settings(
    args.model,
    args.base_url,
    args.key_name,
    args.workers,
    args.prices,
    args.max_cost,
    args.retries,
    args.timeout,
  )
