"""The console scripts of an installed ltu_jax.

Each runs its module as `python -m` does: the same help, the same messages, and
the same module for the processes that it starts.
"""

import runpy


def _run(module: str) -> None:
  """Runs a module of this package as the program."""
  runpy.run_module(f"ltu_jax.{module}", run_name="__main__", alter_sys=True)


def train() -> None:
  """Is ltu-jax-train."""
  _run("main")


def ask() -> None:
  """Is ltu-jax-ask."""
  _run("ask")


def serve() -> None:
  """Is ltu-jax-serve."""
  _run("serve")


def evaluate() -> None:
  """Is ltu-jax-evaluate."""
  _run("evaluate")


def convert() -> None:
  """Is ltu-jax-convert."""
  _run("convert")


def aqa() -> None:
  """Is ltu-jax-aqa."""
  _run("aqa")


def aot() -> None:
  """Is ltu-jax-aot."""
  _run("aot")


def goodput() -> None:
  """Is ltu-jax-goodput."""
  _run("goodput")
