"""Code that makes a process fail where anything imports TensorFlow; no test."""

NO_TENSORFLOW = """
import sys
class Finder:
  def find_spec(self, name, path=None, target=None):
    if name == "tensorflow":
      raise ModuleNotFoundError("no tensorflow here", name=name)
sys.meta_path.insert(0, Finder())
"""
