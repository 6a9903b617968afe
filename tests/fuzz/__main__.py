"""Runs all fuzz tests at length: python -m tests.fuzz --examples=1000.

Prints how many cases ran for each target, and ends with 1 after a crash.
"""

import argparse
import os
import pathlib
import sys

import pytest

_HERE = pathlib.Path(__file__).parent


class _Crashes:
  """Notes the names of tests that failed."""

  def __init__(self):
    self.names = []

  def pytest_runtest_logreport(self, report):
    if report.failed:
      self.names.append(report.nodeid.rpartition("::")[2])


def main() -> int:
  parser = argparse.ArgumentParser(
    prog="python -m tests.fuzz", description=__doc__
  )
  parser.add_argument(
    "--examples", type=int, default=1000, help="cases of each test"
  )
  parser.add_argument("tests", nargs="*", default=[str(_HERE)])
  args = parser.parse_args()
  os.environ["FUZZ_EXAMPLES"] = str(args.examples)
  crashes = _Crashes()
  status = pytest.main(["-q", "--durations=0", *args.tests], plugins=[crashes])
  # The module that the tests counted in: they import it by this name.
  import fuzz_cases

  print("\n| target | cases | refused with a documented error | crashes |")
  print("| --- | ---: | ---: | ---: |")
  for target, cases in fuzz_cases.CASES.items():
    crashed = sum(fuzz_cases.TESTS[n] == target for n in crashes.names)
    refused = fuzz_cases.REFUSED[target]
    print(f"| {target} | {cases:,} | {refused:,} | {crashed} |")
  cases, refused = map(
    lambda c: c.total(), (fuzz_cases.CASES, fuzz_cases.REFUSED)
  )
  print(f"| all | {cases:,} | {refused:,} | {len(crashes.names)} |")
  return int(status)


if __name__ == "__main__":
  sys.exit(main())
