"""Builds openaqa/full of the questions that were made."""

import hashlib
import pathlib
import re

from ltu_jax.aqa import output
from ltu_jax.aqa.errors import AqaError

# What TFDS puts before the message of an error in a builder's constructor.
_TFDS_PREFIX = re.compile(r'^Failed to construct dataset .*?\}": ', re.DOTALL)


def build(
  out: pathlib.Path, audio: pathlib.Path, data_dir: pathlib.Path
) -> pathlib.Path:
  """Builds `openaqa/full`, or finds it built of the same questions.

  Args:
    out: Folder of the questions: closed.json, and open.json if it is there.
    audio: Folder of the sounds.
    data_dir: TFDS's folder.

  Returns:
    The folder of the data set.

  Raises:
    AqaError: It cannot be built, or was built of other questions.
  """
  # Here, as it takes seconds.
  import tensorflow_datasets as tfds

  import tfds_builders
  from ltu_jax.audio.decode import AudioError
  from tfds_builders.openaqa.full import build as full
  from tfds_builders.openaqa.full import plan, worker
  from tfds_builders.openaqa.full.audio_files import RootError
  from tfds_builders.openaqa.full.entries import JsonError

  assert tfds_builders  # Importing it registers the builder.
  files = [
    (out / name).resolve()
    for name in (output.CLOSED, output.OPEN)
    if (out / name).is_file()
  ]
  try:
    builder = tfds.builder(
      "openaqa/full",
      data_dir=data_dir,
      json_files=[str(file) for file in files],
      audio_roots=[str(audio.resolve())],
    )
    if builder.is_prepared():
      _check_same(builder, files)
    else:
      builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=out)
      )
  except (
    AudioError,
    JsonError,
    RootError,
    full.BuildError,
    plan.PlanError,
    worker.WorkerError,
  ) as error:
    raise AqaError(f"--tfds: {error}") from error
  except (ValueError, RuntimeError) as error:
    message, found = _TFDS_PREFIX.subn("", str(error))
    if not found:
      raise
    raise AqaError(f"--tfds: {message}") from error
  return pathlib.Path(builder.data_dir)


def _check_same(builder, files: list[pathlib.Path]) -> None:
  """Raises AqaError if a data set was built of other questions."""
  built = [file["sha256"] for file in builder.info.metadata["files"]]
  if built != [_sha256(file) for file in files]:
    raise AqaError(
      f"--tfds: {builder.data_dir} was built of other questions; remove that "
      "folder or give another."
    )


def _sha256(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
