"""Puts configs/ into the wheel, as ltu_jax/configs; the rest is setup.cfg's.

An installation with -e makes no such copy: it uses configs/ itself.
"""

from setuptools import setup
from setuptools.command.build_py import build_py


class _BuildPy(build_py):
  """Builds the packages that were found, and configs/ within ltu_jax."""

  def finalize_options(self) -> None:
    super().finalize_options()
    self.packages = [*self.packages, "ltu_jax.configs"]
    self.package_dir = {**self.package_dir, "ltu_jax.configs": "configs"}


setup(cmdclass={"build_py": _BuildPy})
