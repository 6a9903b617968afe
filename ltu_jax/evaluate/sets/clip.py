"""What a set's metadata says about one sound, before the sound is found."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Clip:
  """A row of the metadata.

  Attributes:
    id: As of Item.
    names: Names that the sound file may have, see `AudioFiles.find`.
    truth: As of Item.
    where: File and line, for errors.
    question: As of Item.
    input: As of Item.
    choices: As of Item.
    group: As of Item.
    in_place: Whether the file must lie in the folders of its name.
  """

  id: str
  names: tuple[str, ...]
  truth: tuple[str, ...]
  where: str
  question: str
  input: str = ""
  choices: tuple[str, ...] = ()
  group: str = ""
  in_place: bool = False
