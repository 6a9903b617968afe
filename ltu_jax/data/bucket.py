"""What it takes to read a prepared data set from a bucket.

Two readers are at work there. TFDS's description of the data set and the
question index are read by etils, through gcsfs; the records by ArrayRecord's
own C++ reader. Both take the machine's account (a TPU VM's own, or that of
`gcloud auth application-default login`). Neither needs TensorFlow;
`ltu_jax/__init__.py` sees to it.
"""

import importlib.util
import os

SCHEME = "gs://"
"""Begins the address of a bucket."""


def is_bucket(folder: str | os.PathLike) -> bool:
  """Whether a folder is in a bucket."""
  return os.fspath(folder).startswith(SCHEME)


def check_folder(folder: str | os.PathLike) -> None:
  """Checks that TFDS's folder is of a kind that can be read here.

  Raises:
    ValueError: If its address is of another kind, or gcsfs is missing.
  """
  folder = os.fspath(folder)
  if "://" in folder and not is_bucket(folder):
    raise ValueError(
      f"{folder}: a data set is read from a folder of this machine or from"
      f" {SCHEME}BUCKET/FOLDER"
    )
  if is_bucket(folder) and importlib.util.find_spec("gcsfs") is None:
    raise ValueError(
      f"{folder}: reading from a bucket needs gcsfs; install it with:"
      " pip install 'ltu-jax[gcs]'"
    )


def how_to_prepare(name: str, folder: str | os.PathLike) -> str:
  """Says that a data set is not there, and how to build it.

  Args:
    name: Data set and config, such as `openaqa/mini`.
    folder: TFDS's folder, of this machine or in a bucket.
  """
  folder = os.fspath(folder)
  is_full = name.partition(":")[0] == "openaqa/full"
  # TFDS itself writes records to disks alone; openaqa/full brings its own way.
  is_copied = is_bucket(folder) and not is_full
  data_dir = "DATA_DIR" if is_copied else folder
  build = (
    f"tfds build {name} --imports=tfds_builders"
    f"{' --manual_dir=DIR' if is_full else ''} --data_dir={data_dir}"
  )
  notes = "the command needs: pip install 'ltu-jax[beam]'"
  if is_full:
    notes += "; tfds_builders/openaqa/README.md says what DIR has to hold"
  where = f"{name} is not prepared in {folder}"
  if is_bucket(folder):
    where += ", or this machine's account may not read it"
  if not is_copied:
    return f"{where}; build it with: {build} ({notes})"
  dataset = name.partition("/")[0]
  copy = f"gcloud storage cp -r {data_dir}/{dataset} {folder.rstrip('/')}/"
  return (
    f"{where}. It cannot be built into a bucket: build it on a disk first with"
    f" {build} ({notes}), then copy it with: {copy}"
  )
