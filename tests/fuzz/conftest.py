"""The one profile of all fuzz tests; `python -m tests.fuzz` sets its size."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
  "fuzz",
  max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
  derandomize=True,  # the same cases on every machine
  database=None,
  deadline=None,  # a case has its own limit, see fuzz_cases.py
  suppress_health_check=list(HealthCheck),
)
