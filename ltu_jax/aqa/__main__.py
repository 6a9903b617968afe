"""Makes questions and answers on the command line; see cli.py."""

import sys
from collections.abc import Sequence

from ltu_jax.aqa import cli
from ltu_jax.aqa.errors import AqaError
from ltu_jax.evaluate.errors import EvaluateError

_STOPPED = 130
"""Status after Ctrl-C: 128 and the signal's number, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: the command's, 2 after an error that the user can mend, told
    in one line, or 130 after Ctrl-C.
  """
  args = cli.parse(argv)
  try:
    return cli.RUN[args.command](args)
  except (AqaError, EvaluateError) as error:
    print(f"aqa: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("aqa: stopped; what was made before is whole.", file=sys.stderr)
    return _STOPPED


if __name__ == "__main__":
  sys.exit(main())
