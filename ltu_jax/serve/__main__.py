"""Serves a trained model: HTTP endpoints, and a page for people.

  python -m ltu_jax.serve --bundle=ltu-bundle
  python -m ltu_jax.serve --workdir=runs/quickstart --port=0 --no-page

One line says the address once it answers. SIGTERM and SIGINT finish what is
open; a second one ends it at once.
"""

import argparse
import functools
import importlib.util
import logging
import os
import pathlib
import sys
from collections.abc import Sequence

from ltu_jax import compile_cache, model_flags, version

_EXTRA = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


class ServeError(ValueError):
  """A mistake of the user's; the message says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: 0 after a signal, or 2 after a mistake of the user's, told in
    one line.
  """
  args = _parser().parse_args(argv)
  logging.basicConfig(format="serve: %(message)s", level=logging.WARNING)
  try:
    _serve(args)
  except ServeError as error:
    print(f"serve: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    return 130
  return 0


def _serve(args: argparse.Namespace) -> None:
  """Checks what is quick to check, loads the model, and serves it."""
  needed = (*_EXTRA, "gradio") if args.page else _EXTRA
  if missing := [m for m in needed if importlib.util.find_spec(m) is None]:
    raise ServeError(
      f"{', '.join(missing)} is not installed: pip install 'ltu-jax[demo]'"
    )
  from ltu_jax.serve import server
  from ltu_jax.serve.access import allowed_hosts, is_loopback

  token = _token(args.token_file)
  if not token and not is_loopback(args.host):
    server.warn(
      f"whoever reaches {args.host} can ask; set a token with --token_file."
    )
  try:
    taken = server.bind(args.host, args.port)
  except server.AddressError as error:
    raise ServeError(str(error)) from error
  with taken:
    service = _service(args)
    from ltu_jax.serve.app import Settings, make_app

    settings = Settings(
      model=args.model_name,
      token=token,
      hosts=allowed_hosts(args.host, args.allow_host),
      max_upload_mb=args.max_upload_mb,
    )
    page = functools.partial(_mount_page, args, service) if args.page else None
    app = make_app(service, settings, page)
    server.warm_up(service)
    try:
      server.run(app, service, taken, args.stop_seconds)
    except server.AddressError as error:
      raise ServeError(str(error)) from error


def _service(args: argparse.Namespace):
  """Loads the model and makes its service."""
  from ltu_jax.answers.answerer import Answerer
  from ltu_jax.bundle import LOAD_ERRORS
  from ltu_jax.serve import server
  from ltu_jax.serve.service import Service

  if why := compile_cache.enable(args.compile_cache):
    server.warn(why)
  try:
    trained, mesh = model_flags.load(args)
  except LOAD_ERRORS as error:
    raise ServeError(str(error)) from error
  make = functools.partial(
    Answerer,
    trained.model,
    trained.tokenizer,
    num_rows=args.rows,
    context=args.context,
    mesh=mesh,
  )
  return Service(make, waiting=args.waiting, seconds=args.seconds)


def _mount_page(args: argparse.Namespace, service, app) -> None:
  """Puts the page at "/"."""
  from ltu_jax.serve import card, page

  text = card.model_card(workdir=args.workdir, bundle=args.bundle)
  made = page.make_page(service, card=text, examples=card.EXAMPLES)
  page.mount(app, made, most_bytes=int(args.max_upload_mb * (1 << 20)))


def _token(file: str | None) -> str:
  """The token that clients must show; "" for none."""
  if file is None:
    token, source = os.environ.get("LTU_TOKEN", ""), "LTU_TOKEN"
    if not token:
      return ""
  else:
    source = file
    try:
      token = pathlib.Path(file).read_text("utf-8")
    except (OSError, UnicodeError) as error:
      raise ServeError(f"{file}: the token cannot be read: {error}") from error
  token = token.strip()
  if not token or not token.isascii() or not token.isprintable():
    raise ServeError(
      f"{source}: a token is one line of printable ASCII; make one with:"
      " python -c 'import secrets; print(secrets.token_urlsafe())'"
    )
  return token


def _number(kind: type, least: float, most: float):
  """A type of argparse: a number in a range."""

  def parse(text: str):
    try:
      value = kind(text)
    except ValueError:
      value = None
    if value is None or not least <= value <= most:
      raise argparse.ArgumentTypeError(
        f"{text!r} is not a number from {least} to {most}"
      )
    return value

  return parse


def _parser() -> argparse.ArgumentParser:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.serve",
    description="Serve a trained model: HTTP endpoints, and a page.",
    allow_abbrev=False,
  )
  version.add(parser)
  add = parser.add_argument
  model_flags.add(parser)
  add("--host", default="127.0.0.1", help="default: %(default)s")
  add(
    "--port",
    type=_number(int, 0, 65535),
    default=7860,
    help="0: any that is free; default: %(default)s",
  )
  add(
    "--allow_host",
    action="append",
    default=[],
    metavar="NAME",
    help="a further name that the Host header may have; may be repeated",
  )
  add("--token_file", help="clients must show its token (or env LTU_TOKEN)")
  add("--page", action=argparse.BooleanOptionalAction, default=True)
  add("--model_name", default="ltu", help="in /v1/models; default: ltu")
  for name, kind, least, most, default, meaning in (
    ("rows", int, 1, 1024, 8, "questions answered at once"),
    ("context", int, 64, 1 << 20, 1024, "tokens of sound, text and answer"),
    ("waiting", int, 0, 100_000, 64, "questions that may wait; then 429"),
    ("seconds", float, 0.1, 86_400, 120, "time limit of an answer; then 504"),
    ("stop_seconds", float, 0, 3600, 30, "for open answers after a signal"),
    ("max_upload_mb", float, 0.001, 1024, 25, "largest body; then 413"),
  ):
    add(
      f"--{name}",
      type=_number(kind, least, most),
      default=default,
      help=f"{meaning}; default: %(default)s",
    )
  return parser


if __name__ == "__main__":
  sys.exit(main())
