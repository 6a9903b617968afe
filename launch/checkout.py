"""The local checkout as one file, to be laid onto the workers.

What goes is what git knows or would know: tracked files, and untracked ones
that are not ignored, as they are on the disk. No fork, no push is needed.
"""

import pathlib
import subprocess
import tarfile

_MOST_BYTES = 200 << 20
"""What a checkout may hold; more is data, which belongs elsewhere."""

ROOT = pathlib.Path(__file__).resolve().parents[1]

LIST = ("git", "ls-files", "-z", "-co", "--exclude-standard")


class CheckoutError(Exception):
  """A checkout that cannot be sent; the message says why."""


def pack(folder: pathlib.Path, to: pathlib.Path) -> int:
  """Packs a checkout into a compressed tar.

  Args:
    folder: The checkout.
    to: The file to write.

  Returns:
    How many files there are in it.

  Raises:
    CheckoutError: It is no checkout, or is too large.
  """
  try:
    listed = subprocess.run(
      LIST, cwd=folder, check=True, capture_output=True
    ).stdout
  except FileNotFoundError as error:
    raise CheckoutError("git is not installed") from error
  except subprocess.CalledProcessError as error:
    complaint = error.stderr.decode(errors="replace").strip()
    raise CheckoutError(f"{folder}: {complaint}") from error
  # In a merge, a file of both sides is listed twice.
  names = dict.fromkeys(name.decode() for name in listed.split(b"\0") if name)
  # What is tracked, but removed on the disk, is not sent.
  names = [name for name in names if _is_file(folder / name)]
  sizes = {name: (folder / name).lstat().st_size for name in names}
  if sum(sizes.values()) > _MOST_BYTES:
    largest = max(sizes, key=sizes.__getitem__)
    raise CheckoutError(
      f"{folder} holds {sum(sizes.values()) >> 20} MB that git does not ignore,"
      f" most in {largest}; add what the workers do not need to .gitignore"
    )
  with tarfile.open(to, "w:gz", compresslevel=6) as archive:
    for name in names:
      archive.add(folder / name, name, recursive=False)
  return len(names)


def _is_file(path: pathlib.Path) -> bool:
  """Whether it is there, and no nested checkout."""
  return path.is_symlink() or path.is_file()
