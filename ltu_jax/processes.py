"""Several processes: how they find each other, and who does what is done once.

A run of several processes is the same program started once a host (or once a
device), with one mesh over all devices. What the processes do alike needs no
word; here is what they do not.
"""

import glob
import importlib.util
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

_HEARTBEAT_SECONDS = 30
"""A process that is not heard of for so long is taken for dead, which ends all
the others; JAX's default of 100 s is longer than the minute that we promise."""

_SHUTDOWN_SECONDS = 20
"""How long a process that ends waits for the others; after an error they may
be waiting for it in a computation."""

_TOLD_BYTES = 1024
"""Of an error's message, what the other processes learn."""

T = TypeVar("T")


class ProcessError(ValueError):
  """Processes that do not find each other, or one that cannot go on."""


def start(
  *,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  detect: bool = True,
  timeout: int = 300,
) -> None:
  """Joins the other processes, if there are others; to be called before JAX.

  From here on, only the first of them prints; errors are told by every one.

  With all of the first three arguments, these processes; without them, what
  JAX finds on a TPU VM or in a Slurm step of several tasks; elsewhere nothing
  is done.

  Args:
    coordinator: HOST:PORT of process 0, whose port is free.
    num_processes: How many there are.
    process_id: Which this is, from 0.
    detect: Whether to look for a TPU VM or Slurm.
    timeout: Seconds to wait for the others.

  Raises:
    ProcessError: Arguments that do not fit, or no way to the coordinator.
  """
  given = {
    "coordinator": coordinator,
    "num_processes": num_processes,
    "process_id": process_id,
  }
  missing = [name for name, value in given.items() if value is None]
  if len(missing) == len(given):
    if detect and is_cluster(os.environ):
      _initialize(timeout)
    return
  if missing:
    names = ", ".join(f"--{name}" for name in given)
    raise ProcessError(f"--{missing[0]} is missing; give all of {names}")
  if not 0 <= process_id < num_processes:
    raise ProcessError(
      f"--process_id is {process_id}; of {num_processes} processes"
      f" (--num_processes) the first is 0, the last {num_processes - 1}"
    )
  _check_coordinator(coordinator, process_id, timeout)
  _initialize(
    timeout,
    coordinator_address=coordinator,
    num_processes=num_processes,
    process_id=process_id,
    cluster_detection_method="deactivate",
  )


def _initialize(timeout: int, **who: Any) -> None:
  """JAX's own joining, with our times."""
  jax.distributed.initialize(
    **who,
    initialization_timeout=timeout,
    heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
    shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
  )
  _silence_all_but_first()
  # On CPU, processes that come to the first of these more than 30 s apart do
  # not connect; here all are together.
  barrier("start")


def is_cluster(environ: Mapping[str, str]) -> bool:
  """Whether JAX can tell by itself which the other processes are.

  On a TPU VM, also of one host, and in a Slurm step of several tasks. JAX's
  own detection asks Google's metadata server wherever libtpu is installed,
  which elsewhere takes minutes.
  """
  if int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
    return True
  platforms = environ.get("JAX_PLATFORMS", "")
  if platforms and "tpu" not in platforms.split(","):
    return False
  chips = glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")
  return bool(chips) and importlib.util.find_spec("libtpu") is not None


def _silence_all_but_first() -> None:
  """Closes the standard output of every process but the first.

  Also to libraries that write to it below Python, as Gloo does.
  """
  if jax.process_index():
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def name() -> str:
  """What errors call this process: "process 1: "; "" if there is but one."""
  several = jax.process_count() > 1
  return f"process {jax.process_index()}: " if several else ""


def in_turn(act: Callable[[], T]) -> T:
  """Lets the first process act, and when it is done, all the others.

  So the others find what the first has made. If one fails, all stop.

  Args:
    act: What to do; no other process must be needed for it.

  Returns:
    What `act` returned in this process.

  Raises:
    ProcessError: `act` raised a ValueError in another process; says which.
    ValueError: The one that `act` raised in this process.
  """
  if jax.process_count() == 1:
    return act()
  is_first = jax.process_index() == 0
  result = _all_or_none(act if is_first else lambda: None)
  others = _all_or_none(act if not is_first else lambda: None)
  return result if is_first else others


def check_same(what: str, text: str) -> None:
  """Checks that all processes were given the same.

  Args:
    what: What to call it in the error.
    text: What is to be the same.

  Raises:
    ProcessError: It is not; all processes raise.
  """
  all_texts = gather(text)
  odd = [i for i, other in enumerate(all_texts) if other != all_texts[0]]
  if odd:
    raise ProcessError(
      f"{what} of process {odd[0]} is not that of process 0; start all"
      " processes with the same command"
    )


def any_problem(problem: str) -> str:
  """The problems that any processes have, so that all act alike.

  Args:
    problem: This process's, in a few words; "" for none.

  Returns:
    All of them with their processes; "" if there is none.
  """
  if jax.process_count() == 1:
    return problem
  told = gather(problem.encode()[:_TOLD_BYTES].decode(errors="ignore"))
  named = [f"process {i}: {text}" for i, text in enumerate(told) if text]
  return "; ".join(named)


def heard(told: float | None, mine: bool) -> bool:
  """Whether any process wants something, at the same step in all.

  Args:
    told: What the last step's metrics say of all processes, if anything.
    mine: What this process wants now; it counts at once where it is alone.
  """
  return bool(told) or (mine and jax.process_count() == 1)


def barrier(reason: str) -> None:
  """Waits until all processes are here; `reason` is the same in all."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(reason)


def _all_or_none(act: Callable[[], T]) -> T | None:
  """Acts in every process; raises in all if it fails in any."""
  result, failure, message = None, None, ""
  try:
    result = act()
  except ValueError as error:  # every error that is for the user is one
    failure, message = error, str(error) or type(error).__name__
  messages = gather(message[:_TOLD_BYTES])
  if failure is not None:
    raise failure
  for process, told in enumerate(messages):
    if told:
      raise ProcessError(f"process {process} could not go on: {told}")
  return result


def gather(text: str) -> list[str]:
  """Returns the texts of all processes, in their order; all must call it."""
  if jax.process_count() == 1:
    return [text]
  raw = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.array([raw.size]))
  padded = np.pad(raw, (0, int(sizes.max()) - raw.size))
  if not padded.size:
    return [""] * len(sizes)
  rows = multihost_utils.process_allgather(padded)
  rows = rows.reshape(len(sizes), -1)
  return [
    row[: int(size)].tobytes().decode()
    for row, size in zip(rows, sizes.reshape(-1), strict=True)
  ]


def _check_coordinator(address: str, process_id: int, timeout: int) -> None:
  """Raises where JAX would abort the process with a stack trace, or crash."""
  host, colon, port = address.rpartition(":")
  if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
    raise ProcessError(
      f"--coordinator is {address!r}; give HOST:PORT, such as 10.0.0.2:8476"
    )
  if process_id == 0:
    _check_free(int(port))
    return
  end = time.monotonic() + timeout
  while True:
    left = end - time.monotonic()
    try:
      socket.create_connection((host.strip("[]"), int(port)), left).close()
      return
    except OSError as error:
      if time.monotonic() + 1 >= end:
        raise ProcessError(
          f"--coordinator: process {process_id} could not reach process 0 at"
          f" {address} in {timeout} s ({error}); is it running, and is the port"
          " open to this machine?"
        ) from error
    time.sleep(1)


def _check_free(port: int) -> None:
  """Raises if this machine cannot listen at a port."""
  try:
    with socket.create_server(
      ("", port), family=socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET
    ):
      pass
  except OSError as error:
    raise ProcessError(
      f"--coordinator: process 0 cannot listen at port {port}"
      f" ({error.strerror or error}); choose another"
    ) from error


def on_host(array: jax.Array | np.ndarray) -> np.ndarray:
  """An array whole, also if it lies on several processes; all must call it."""
  if isinstance(array, jax.Array) and not array.is_fully_addressable:
    return multihost_utils.process_allgather(array, tiled=True)
  return np.asarray(array)
