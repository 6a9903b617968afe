"""Runs `ask` and `features` as the command line does; no test."""

import argparse
import json
import pathlib
import sys

from ltu_jax.aqa import record_lines
from ltu_jax.aqa.asking import command, features_command

_RUN = {"ask": command.run, "features": features_command.run}


def run(*argv) -> int:
  parser = argparse.ArgumentParser()
  commands = parser.add_subparsers(dest="command")
  command.add_parser(commands)
  features_command.add_parser(commands)
  args = parser.parse_args([str(arg) for arg in argv])
  return _RUN[args.command](args)


def write_records(path: pathlib.Path, clips) -> pathlib.Path:
  lines = [record_lines.write(clip) + "\n" for clip in clips]
  path.write_text("".join(lines))
  return path


def reply(*pairs) -> str:
  """A model's words: an object on each line."""
  return "\n".join(json.dumps({"q": q, "a": a}) for q, a in pairs)


if __name__ == "__main__":
  sys.exit(run(*sys.argv[1:]))
