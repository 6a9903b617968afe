"""Names, signatures and hashes of trees of arrays, to compare two of them."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def array_hash(name: str, array: np.ndarray) -> str:
  """SHA-256 in hexadecimal over an array's name, dtype, shape and bytes."""
  digest = hashlib.sha256(f"{name} {array.dtype} {array.shape}\n".encode())
  digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
  return digest.hexdigest()


def combined_hash(hashes: Mapping[str, str]) -> str:
  """One hash for many, by name, whatever their order."""
  text = "\n".join(f"{name} {hashes[name]}" for name in sorted(hashes))
  return hashlib.sha256(text.encode()).hexdigest()


def leaves(tree: Any) -> dict[str, Any]:
  """Maps a/b/0/c names to leaves; the same for tuples, lists and dicts.

  Orbax's metadata has lists and dicts where optax has tuples and named tuples.
  """
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in flat
  }


def nested(flat: Mapping[str, Any], separator: str = "/") -> dict[str, Any]:
  """Nested dicts of a mapping with a/b/c names; the inverse of `leaves`."""
  tree: dict[str, Any] = {}
  for name, value in flat.items():
    *parents, leaf = name.split(separator)
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = value
  return tree


def signature(leaf: Any) -> str:
  """Writes dtype and shape, as float32[2,3]; keys as the integers they hold."""
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.eval_shape(jax.random.key_data, leaf)
  return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def signatures(tree: Any) -> dict[str, str]:
  """Maps names to signatures, of a tree or of Orbax's metadata of one."""
  return {name: signature(leaf) for name, leaf in leaves(tree).items()}


def differences(
  have: Mapping[str, str], want: Mapping[str, str], partial: bool = False
) -> str:
  """Compares names, dtypes and shapes of two trees.

  Args:
    have: The `signatures` of what was saved.
    want: Those of what is wanted.
    partial: Names that are only in `have` are no difference.

  Returns:
    A table with a line for each difference; "" if there is none.
  """
  names = sorted(want if partial else have.keys() | want.keys())
  rows = [
    (name, have.get(name, "missing"), want.get(name, "missing"))
    for name in names
    if have.get(name) != want.get(name)
  ]
  if not rows:
    return ""
  rows.insert(0, ("name", "in the checkpoint", "in this model"))
  widths = [max(len(row[i]) for row in rows) for i in range(3)]
  return "\n".join(
    "  ".join(
      cell.ljust(w) for cell, w in zip(row, widths, strict=True)
    ).rstrip()
    for row in rows
  )


def bad_key(tree: Any, name: str) -> str:
  """Finds a key that is not a str, which a saved tree must not have.

  Args:
    tree: Nested dict.
    name: What to call its root.

  Returns:
    What is wrong; "" if nothing is.
  """
  if not isinstance(tree, Mapping):
    return ""
  for key, value in tree.items():
    if not isinstance(key, str):
      return f"{name} has the key {key!r}; keys of a saved tree must be str."
    problem = bad_key(value, f"{name}/{key}")
    if problem:
      return problem
  return ""
