"""A server under load: what comes back, how fast, and in how much memory.

  python -m benchmarks.serve_load --bundle=ltu-bundle --requests=200
  python -m benchmarks.serve_load --workdir=runs/quickstart \
    --data_dir=DIR --clips=36  # test clips of openaqa/mini, not made-up ones

Starts `python -m ltu_jax.serve` on a free port. First each of some clips is
asked about alone, then all requests come at once: none may be lost, and each
answer must be that of its clip alone. At last as many come to a server whose
queue is short, which refuses with 429 what it cannot take.
"""

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import pathlib
import subprocess
import sys
import time
from collections import Counter

import httpx
import numpy as np
import soundfile

from ltu_jax.data.question_source import QuestionSource

_QUESTIONS = (
  "What can be heard?",
  "Where was this recorded?",
  "What is the mood of this sound?",
)


def wav(number: int) -> bytes:
  """A clip of 1 to 8 s: tones in noise, another for each number."""
  rng = np.random.default_rng(number)
  time_ = np.arange(16_000 * (1 + number % 8)) / 16_000
  tone = np.sin(2 * np.pi * rng.uniform(80, 4000) * time_)
  noise = rng.normal(size=time_.size) * rng.uniform(0.01, 0.5)
  pcm = np.clip(tone * rng.uniform(0.05, 0.5) + noise, -1, 1)
  file = io.BytesIO()
  soundfile.write(file, pcm, 16_000, format="wav", subtype="PCM_16")
  return file.getvalue()


def sounds(args: argparse.Namespace) -> list[bytes]:
  """The files that are sent."""
  if not args.data_dir:
    return [wav(number) for number in range(args.clips)]
  source = QuestionSource.open("openaqa/mini", "test", args.data_dir)
  return [bytes(source.record(n)["audio"]) for n in range(args.clips)]


@contextlib.contextmanager
def server(*flags: str):
  """A server's process and its address."""
  process = subprocess.Popen(
    [sys.executable, "-m", "ltu_jax.serve", "--port=0", "--no-page", *flags],
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    line = process.stdout.readline()
    if "ready at " not in line:
      raise SystemExit("the server did not start")
    yield process, line.split()[-1]
    process.terminate()
    if process.wait(60):
      raise SystemExit(f"the server ended with {process.returncode}")
  finally:
    process.kill()


def memory(process: subprocess.Popen) -> dict[str, int]:
  """MB that a process holds, now and at most (Linux)."""
  text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
  rows = dict(line.split(":", 1) for line in text.splitlines())
  names = {"now": "VmRSS", "peak": "VmHWM"}
  return {name: int(rows[row].split()[0]) >> 10 for name, row in names.items()}


async def ask(client, clip: bytes, question: str, tokens: int) -> dict:
  """One streamed answer: status, text, seconds to the first and to the last."""
  began, first, answer, status = time.monotonic(), None, None, 0
  form = {"question": question, "max_new_tokens": str(tokens)}
  form |= {"temperature": "0", "stream": "true"}
  async with client.stream(
    "POST", "/v1/answers", data=form, files={"audio": ("clip.wav", clip)}
  ) as found:
    status, kind = found.status_code, ""
    async for line in found.aiter_lines():
      name, _, data = line.partition(": ")
      kind = data if name == "event" else kind
      if name == "data":
        first = first or time.monotonic() - began
        if kind == "answer":
          answer = json.loads(data)["answer"]
  return {
    "status": status,
    "answer": answer,
    "first": first,
    "seconds": time.monotonic() - began,
  }


async def load(address: str, args: argparse.Namespace, alone: bool) -> list:
  """Asks all pairs one after the other, or all requests at once."""
  clips = sounds(args)
  pairs = [
    (number, question)
    for question in _QUESTIONS
    for number in range(args.clips)
  ]
  limits = httpx.Limits(max_connections=None)
  async with httpx.AsyncClient(
    base_url=address, timeout=None, limits=limits
  ) as client:

    async def one(pair):
      found = await ask(client, clips[pair[0]], pair[1], args.tokens)
      return {"pair": pair, **found}

    if alone:
      return [await one(pair) for pair in pairs]
    asked = itertools.islice(itertools.cycle(pairs), args.requests)
    return await asyncio.gather(*map(one, asked))


def main() -> int:
  """Prints the rows; 1 if an answer is lost or not its clip's."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  model = parser.add_mutually_exclusive_group(required=True)
  model.add_argument("--bundle")
  model.add_argument("--workdir")
  parser.add_argument("--data_dir", help="where openaqa/mini was built")
  parser.add_argument("--requests", type=int, default=200)
  parser.add_argument("--clips", type=int, default=12)
  parser.add_argument("--tokens", type=int, default=32)
  parser.add_argument("--rows", type=int, default=8)
  args = parser.parse_args()
  name = "bundle" if args.bundle else "workdir"
  model = f"--{name}={args.bundle or args.workdir}"
  common = (model, f"--rows={args.rows}", "--seconds=3600")
  with server(*common, f"--waiting={args.requests}") as (process, address):
    alone = asyncio.run(load(address, args, alone=True))
    asyncio.run(load(address, args, alone=False))  # compiles what is left
    before = memory(process)
    began = time.monotonic()
    found = asyncio.run(load(address, args, alone=False))
    seconds = time.monotonic() - began
    after = memory(process)
  want = {row["pair"]: row["answer"] for row in alone}
  lost = sum(row["answer"] is None for row in found)
  wrong = sum(row["answer"] not in (None, want[row["pair"]]) for row in found)
  print(f"{len(found)} at once, {len(set(want.values()))} different answers")
  print(f"lost {lost}, not that of its clip alone {wrong}")
  print(f"{len(found) / seconds:.2f} answers/s of {args.tokens} tokens")
  for name in ("first", "seconds"):
    p50, p95 = np.percentile([row[name] for row in found], (50, 95))
    print(f"{name}: p50 {p50:.2f} s, p95 {p95:.2f} s")
  print(f"memory before {before} MB, after {after} MB")
  with server(*common, "--waiting=8") as (_, address):
    short = asyncio.run(load(address, args, alone=False))
  print(f"8 may wait: {dict(Counter(row['status'] for row in short))}")
  refused = sum(row["status"] == 429 for row in short)
  wrong += sum(
    row["status"] == 200 and row["answer"] != want[row["pair"]] for row in short
  )
  return int(lost + wrong > 0 or refused == 0)


if __name__ == "__main__":
  sys.exit(main())
