"""Where a data iterator stands, as Orbax saves and loads it."""

import asyncio
from typing import Any

import jax


class Position:
  """A text in a file of its own.

  Grain's own way writes a file for each process, and reads it only with as many
  processes. Here every process stands at the same step, so one file is enough:
  the first process writes it, under the name that grain gives it with one.

  Attributes:
    text: The position; after a load, the one that was read.
  """

  _NAME = "process_0-of-1.json"

  def __init__(self, text: str = ""):
    """Holds what is to be saved; nothing, where it is to be loaded."""
    self.text = text

  async def save(self, directory: Any) -> Any:
    """Returns what writes it."""
    text = self.text

    async def write():
      folder = await directory.await_creation()
      if jax.process_index() == 0:
        await asyncio.to_thread((folder / self._NAME).write_text, text)

    return write()

  async def load(self, directory: Any) -> Any:
    """Returns what reads it."""

    async def read():
      path = directory / self._NAME
      self.text = await asyncio.to_thread(path.read_text)

    return read()
