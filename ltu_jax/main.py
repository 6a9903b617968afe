"""python -m ltu_jax.main --config=configs/quickstart.py --workdir=runs/x.

Several processes are the same command on every host. On TPU VMs and in a Slurm
step they find each other; elsewhere each is told, the first with
--process_id=0:

  --coordinator=HOST:PORT --num_processes=2 --process_id=0
"""

import shlex
import sys
from collections.abc import Sequence

import ml_collections
from absl import app, flags, logging

from ltu_jax import compile_cache, config_flag, version

_CONFIG = config_flag.define()
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Folder of the run, here or gs://BUCKET/FOLDER; a run that stopped goes on"
  " in it.",
)
_ALLOW = flags.DEFINE_list(
  "allow",
  [],
  "What may differ from the run so far: fields of the config, such as"
  " data.batch_size, and base, data, tokenizer.",
)
_DETECT = flags.DEFINE_bool(
  "detect_processes", True, "Look for other processes on TPU VMs and Slurm."
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of process 0, where nothing finds it."
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "How many processes there are, with --coordinator."
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Which of them this is, from 0, with --coordinator."
)
_JOIN_SECONDS = flags.DEFINE_integer(
  "join_seconds", 300, "How long to wait for the other processes."
)
_STOPPED_STATUS = flags.DEFINE_integer(
  "stopped_status",
  0,
  "Exit status of a run that was told to stop and has saved, for what starts it"
  " again and takes 0 for finished.",
  lower_bound=0,
  upper_bound=255,
)
_COMPILE_CACHE = flags.DEFINE_string(
  "compile_cache", None, f"DIR: {compile_cache.HELP}."
)
version.define_flag(flags.FLAGS)


def main(argv: list[str]) -> None:
  """Runs the config in the workdir."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}; flags start with --")
  # Orbax and TFDS say much that buries the progress lines; what fails we tell.
  logging.set_verbosity(logging.FATAL)
  try:
    config = config_flag.config(_CONFIG.value)
  except config_flag.FlagError as error:
    sys.exit(_fail(str(error)))
  if why := compile_cache.enable(_COMPILE_CACHE.value):
    print(why, file=sys.stderr)
  join_processes()
  print(f"config: {config_flag.file()}", flush=True)
  if not train_run(config, _WORKDIR.value, _ALLOW.value):
    sys.exit(_STOPPED_STATUS.value)


def join_processes() -> None:
  """Finds the other processes; only the first prints from here on."""
  from ltu_jax import processes  # after the flags are read

  try:
    processes.start(
      coordinator=_COORDINATOR.value,
      num_processes=_NUM_PROCESSES.value,
      process_id=_PROCESS_ID.value,
      detect=_DETECT.value,
      timeout=_JOIN_SECONDS.value,
    )
  except processes.ProcessError as error:
    sys.exit(_fail(str(error)))


def train_run(
  config: ml_collections.ConfigDict, workdir: str, allow: Sequence[str] = ()
) -> bool:
  """Trains; a user's error ends with its message alone and status 2.

  Returns:
    False where the run was asked to end, and has saved its state.
  """
  import jax  # after the flags are read: a typo costs no seconds

  from ltu_jax import bucket_scratch, processes, stop, train
  from ltu_jax.data import patience

  try:
    train.run(config, workdir, allow)
  except stop.Stopped as stopped:
    print(f"{stopped}. Go on with:\n  {_command()}", flush=True)
    return False
  except patience.StalledError as error:
    words = bucket_scratch.shown(error)
    patience.leave(_fail(f"{processes.name()}{words}"))
  except train.USER_ERRORS as error:
    words = bucket_scratch.shown(error)
    sys.exit(_fail(f"{processes.name()}{words}"))
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1:
      raise
    # A dead process is found in the collectives (CPU), or by its silence: then
    # JAX ends this process itself, with its own words.
    _fail(
      f"{processes.name()}a computation of all processes failed; if one of them"
      " has died, its own output says why. Started again, the run goes on from"
      f" its last checkpoint. ({error})"
    )
    sys.exit(1)
  return True


def _command() -> str:
  """The command that this process was started with."""
  return shlex.join(["python", "-m", "ltu_jax.main", *sys.argv[1:]])


def _parse(argv: list[str]) -> list[str]:
  """Reads the flags; a wrong one ends with one line, status 2."""
  try:
    return config_flag.parse(argv)
  except config_flag.FlagError as error:
    sys.exit(_fail(str(error)))


def _fail(message: str) -> int:
  """Prints a user's error; returns the exit status for it."""
  print(f"error: {message}", file=sys.stderr)
  return 2


def run() -> None:
  """Entry point: reads flags, then runs main."""
  flags.mark_flags_as_required(["config", "workdir"])
  try:
    app.run(main, flags_parser=_parse)
  except SystemExit as ending:
    _leave_waiting_threads(ending.code)
    raise


def _leave_waiting_threads(status: int | str | None) -> None:
  """Ends the process where a save has failed: its threads wait for minutes."""
  if not isinstance(status, int | None) or "jax" not in sys.modules:
    return
  import jax

  from ltu_jax.checkpoint_save import Saves
  from ltu_jax.data import patience

  if Saves.any_failed:
    if jax.distributed.is_initialized():
      jax.distributed.shutdown()  # else the others take this one for dead
    patience.leave(status or 0)


if __name__ == "__main__":
  run()
