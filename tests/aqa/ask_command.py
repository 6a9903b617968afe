"""Runs commands as the command line does, but for errors; no test."""

import json
import pathlib

from ltu_jax.aqa import cli, record_lines


def run(*argv) -> int:
  args = cli.parse([str(arg) for arg in argv])
  return cli.RUN[args.command](args)


def write_records(path: pathlib.Path, clips) -> pathlib.Path:
  lines = [record_lines.write(clip) + "\n" for clip in clips]
  path.write_text("".join(lines))
  return path


def reply(*pairs) -> str:
  """A model's words: an object on each line."""
  return "\n".join(json.dumps({"q": q, "a": a}) for q, a in pairs)
