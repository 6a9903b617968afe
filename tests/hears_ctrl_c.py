"""For a process that a test stops with SIGINT; no test by itself."""

import signal


def hears_ctrl_c():
  """As `preexec_fn`: what shells start in the background does not hear it."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)
