"""Decodes any sound to the one form the rest of the code knows.

That form is 16 kHz, mono, int16. It is the form of the published recipe (the
filter banks are made for 16 kHz) and half the bytes of float32 on the way to
the device. Only NumPy, soundfile and soxr are used here.

Shapes: N samples in time.
"""

import dataclasses
import io
import os
import re
import stat
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 16000
"""Samples a second of everything `decode` returns."""

CLIP_SAMPLES = 164080
"""Samples of exactly 1024 frames (400 + 1023 * 160), what the model hears.

The same number as `audio.fbank.CLIP_SAMPLES`, which cannot be imported here
without JAX; a test holds them equal.
"""

MIN_SAMPLES = 400
"""Samples of one 25 ms frame; a shorter clip has no features."""

SUFFIXES = (
  *(".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg"),
  *(".opus", ".w64", ".wav"),
)
"""Names of files that libsndfile reads, in lower case."""

# Outside these a header is broken, and resampling by its ratio could ask for
# a thousand times the memory of the file.
_LOWEST_RATE = 1_000
_HIGHEST_RATE = 1_000_000

MAX_SAMPLES = 1 << 26
"""Samples of a sound that are read at most, at the file's rate or at 16 kHz.

70 minutes at 16 kHz, 23 at 48 kHz: less than 1 GB on the way.
"""

# A file is read in pieces of this many samples of all channels, so that memory
# follows what the file holds and not what its header claims.
_BLOCK_SAMPLES = 1 << 17

# `max_seconds` reads this much more, then cuts after resampling: the filter of
# the resampler looks ahead, and the kept part must not depend on the cut.
_MARGIN_SECONDS = 0.1

# What libsndfile reports as the length when the header does not state it.
_UNKNOWN_FRAMES = (1 << 63) - 1

# libsndfile shortens the length silently when a header claims more than the
# file holds; only its log tells. These are the size fields of the sample data
# in WAV, AIFF, AU, and of the whole file in W64 and RF64.
_LOG_SIZE = re.compile(
  r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:"
  r"\s*(\d+) \(should be (\d+)\)",
  re.MULTILINE,
)


class AudioError(ValueError):
  """A sound that cannot be used; the message names it and says why.

  Attributes:
    kind: What is wrong, to count by: `unopened` (there is no such file, or it
      may not be read), `empty` (no bytes), `damaged` (not audio, or a broken
      header), `cut_short` (less sound than its header claims), `not_finite`
      (NaN or infinite samples), `no_samples`, `too_short` (less than a
      frame), `too_long` (more than `MAX_SAMPLES`) or `constant` (every sample
      has one value).
  """

  def __init__(self, message: str, kind: str = "damaged"):
    """Makes the error.

    Args:
      message: Names the sound, says why and what to do.
      kind: As the attribute.
    """
    super().__init__(message)
    self.kind = kind

  def __reduce__(self):
    """Pickles with its kind, to cross from a worker process."""
    return AudioError, (self.args[0], self.kind)


@dataclasses.dataclass(frozen=True)
class Sound:
  """A decoded sound, and what its file was.

  Attributes:
    pcm: int16 [N], 16 kHz, mono.
    sample_rate: Samples a second of the file.
    channels: Channels of the file.
    seconds: Length of the whole file; `pcm` may hold less of it.
  """

  pcm: np.ndarray
  sample_rate: int
  channels: int
  seconds: float


def decode(
  source: str | os.PathLike | bytes,
  name: str | None = None,
  *,
  max_seconds: float | None = None,
) -> np.ndarray:
  """Returns a sound as 16 kHz mono int16: the `pcm` of `read`.

  Args:
    source: A path, or the bytes of a file.
    name: What to call the sound in errors; the path by default.
    max_seconds: Read no more than this from the start; None reads all.

  Returns:
    int16 [N], N at least 1.

  Raises:
    AudioError: As `read`.
  """
  return read(source, name, max_seconds=max_seconds).pcm


def read(
  source: str | os.PathLike | bytes,
  name: str | None = None,
  *,
  max_seconds: float | None = None,
) -> Sound:
  """Decodes a sound to 16 kHz mono int16, and tells what it was.

  The first channel is taken, as the published demo does. Another rate is
  resampled with soxr (HQ). 16-bit sound at 16 kHz passes through bit by bit;
  louder than full scale is clipped.

  A cut WAV, AIFF, AU, FLAC or MP3 is an error. A cut OGG cannot be told from a
  shorter one (its header holds no length) and gives what there is.

  Args:
    source: A path, or the bytes of a file: whatever libsndfile reads (WAV,
      FLAC, OGG, MP3, AIFF, ...), recognised by content and not by file name.
    name: What to call the sound in errors; the path by default.
    max_seconds: Read no more than this from the start; None reads all.

  Returns:
    The sound; its `pcm` has one sample at least.

  Raises:
    AudioError: If the file is missing, empty, cut short, not audio, without
      samples, holds NaN or infinity, or more than `MAX_SAMPLES` are to be read.
  """
  if isinstance(source, bytes):
    name = name or f"{len(source)} bytes of sound"
    return _decode_stream(io.BytesIO(source), len(source), name, max_seconds)
  path = os.fspath(source)
  name = name or path
  with _open(path, name) as stream:
    size = os.fstat(stream.fileno()).st_size
    return _decode_stream(stream, size, name, max_seconds)


def _open(path: str, name: str) -> BinaryIO:
  """Opens a file by number: soundfile believes the name of one that has it."""
  try:
    # A pipe that nobody writes to would wait for ever.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
  except (OSError, ValueError) as e:  # the latter for names that none can have
    why = e.strerror if isinstance(e, OSError) else str(e)
    raise AudioError(f"{name}: cannot be opened: {why}", "unopened") from e
  mode = os.fstat(number).st_mode
  if not stat.S_ISREG(mode):
    os.close(number)
    why = "Is a directory" if stat.S_ISDIR(mode) else "it is no plain file"
    raise AudioError(f"{name}: cannot be opened: {why}", "unopened")
  return open(number, "rb")


class _Steady:
  """A stream as soundfile wants it, in which a seek never fails.

  cffi prints a traceback of what is raised there, and goes on; a broken header
  may ask for places before the start, or where no file system has one.
  """

  def __init__(self, stream: BinaryIO, size: int):
    self._stream, self._size = stream, size
    self.read, self.readinto = stream.read, stream.readinto
    self.tell = stream.tell

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    """Goes to a place, or as near as there is one."""
    starts = {os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}
    place = starts.get(whence, 0) + offset
    return self._stream.seek(min(max(place, 0), self._size))


def _decode_stream(
  stream: BinaryIO, size: int, name: str, max_seconds: float | None
) -> Sound:
  """Decodes an open file of `size` bytes; see `read`."""
  if size == 0:
    raise AudioError(f"{name}: the file is empty (0 bytes)", "empty")
  try:
    with soundfile.SoundFile(_Steady(stream, size)) as sound:
      rate, channels, frames = sound.samplerate, sound.channels, sound.frames
      _check_header(sound, name)
      samples = _read_first_channel(sound, name, max_seconds)
  except soundfile.LibsndfileError as e:
    # `error_string` lacks the address of the stream that str(e) shows.
    raise AudioError(
      f"{name}: cannot be decoded, it is damaged or not audio"
      f" (libsndfile: {e.error_string.rstrip('.')})"
    ) from e
  pcm = to_pcm(samples, rate, name, max_seconds)
  return Sound(pcm, rate, channels, frames / rate)


def to_pcm(
  samples: np.ndarray, rate: int, name: str, max_seconds: float | None = None
) -> np.ndarray:
  """Resamples and rounds one channel to the form of `Sound.pcm`.

  Args:
    samples: float32 [N], full scale 1.
    rate: Samples a second.
    name: What to call the sound in errors.
    max_seconds: Keep no more than this from the start; None keeps all.

  Returns:
    int16 [M], M at least 1.

  Raises:
    AudioError: If there are no samples, or some are NaN or infinite.
  """
  if not np.isfinite(samples).all():
    raise AudioError(
      f"{name}: holds samples that are NaN or infinite", "not_finite"
    )
  if rate != SAMPLE_RATE:
    samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
  if max_seconds is not None:
    samples = samples[: round(max_seconds * SAMPLE_RATE)]
  if not samples.size:
    raise AudioError(f"{name}: holds no samples", "no_samples")
  # 16-bit input was divided by 32768 exactly, so this gives it back exactly.
  samples = np.rint(np.clip(samples, -1, 1) * 32768)
  return np.minimum(samples, 32767).astype(np.int16)


def is_plausible_rate(rate: int) -> bool:
  """Whether a header's sample rate is one that sounds have."""
  return _LOWEST_RATE <= rate <= _HIGHEST_RATE


def _check_header(sound: soundfile.SoundFile, name: str) -> None:
  """Raises AudioError for a header that the file does not keep."""
  if not is_plausible_rate(sound.samplerate):
    raise AudioError(
      f"{name}: a sample rate of {sound.samplerate} Hz is not plausible"
    )
  if sound.frames == _UNKNOWN_FRAMES:
    raise AudioError(
      f"{name}: its header does not state its length; write it again,"
      " for example with `ffmpeg -i IN OUT.flac`"
    )
  for claimed, actual in _LOG_SIZE.findall(sound.extra_info):
    if int(claimed) > int(actual):
      raise AudioError(
        f"{name}: is cut short, its header claims {claimed} bytes of sound"
        f" and {actual} follow",
        "cut_short",
      )


def _read_first_channel(
  sound: soundfile.SoundFile, name: str, max_seconds: float | None
) -> np.ndarray:
  """Reads channel 0 as float32 [N] in blocks."""
  wanted = sound.frames
  if max_seconds is not None:
    wanted = min(
      wanted, int((max_seconds + _MARGIN_SECONDS) * sound.samplerate) + 1
    )
  if wanted * max(1.0, SAMPLE_RATE / sound.samplerate) > MAX_SAMPLES:
    raise AudioError(
      f"{name}: {wanted / sound.samplerate / 60:.0f} minutes of sound are too"
      " many to read at once; cut it, for example with"
      " `ffmpeg -i IN -f segment -segment_time 600 OUT%03d.flac`",
      "too_long",
    )
  step = max(1, _BLOCK_SAMPLES // sound.channels)
  blocks, read = [np.zeros(0, np.float32)], 0
  while read < wanted:
    block = sound.read(
      min(step, wanted - read), dtype="float32", always_2d=True
    )
    if not len(block):
      raise AudioError(
        f"{name}: is cut short, its header claims {sound.frames} samples"
        f" and {read} could be read",
        "cut_short",
      )
    # A copy: a view would keep all channels in memory.
    blocks.append(block[:, 0].copy())
    read += len(block)
  return np.concatenate(blocks)
