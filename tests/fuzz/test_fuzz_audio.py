"""Any bytes are a sound or an AudioError, in little memory."""

import io
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st

from fuzz_cases import fuzzed
from fuzz_data import damaged
from ltu_jax.audio import decode
from ltu_jax.audio.decode import AudioError, Sound

_FORMATS = (
  *(("WAV", s) for s in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "ULAW")),
  *(("WAV", s) for s in ("IMA_ADPCM", "MS_ADPCM", "GSM610", "DOUBLE")),
  *(("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")),
  *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")),
  *(("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("AU", "ALAW")),
  *(("W64", "PCM_16"), ("RF64", "PCM_16"), ("CAF", "PCM_16")),
  *(("CAF", "ALAC_16"), ("PVF", "PCM_16"), ("NIST", "PCM_16")),
  *(("VOC", "PCM_U8"), ("IRCAM", "PCM_16"), ("MAT5", "PCM_16")),
  *(("MPC2K", "PCM_16"), ("PAF", "PCM_16"), ("AVR", "PCM_16")),
)


def _encoded(format_: str, subtype: str, rate: int, channels: int) -> bytes:
  samples = np.random.default_rng(0).normal(0, 0.1, (3000, channels))
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format=format_, subtype=subtype)
  return file.getvalue()


SOUNDS = [
  _encoded(format_, subtype, rate, channels)
  for format_, subtype in _FORMATS
  for rate, channels in (
    ((8000, 1),) if subtype == "GSM610" else ((16000, 1), (48000, 2))
  )
]

# The blocks that are read, the resampler's, and the copies of the result: as
# much as a sound of so few bytes needs, however much its header claims.
_MOST_BYTES = 64 << 20


@pytest.mark.filterwarnings("error")  # tracebacks of cffi among them
@fuzzed(
  "audio decoder",
  memory=512 << 20,
  data=damaged(SOUNDS),
  max_seconds=st.sampled_from((None, 10.255, 0.01)),
  in_file=st.booleans(),
)
def test_a_sound_or_an_audio_error(case, data, max_seconds, in_file):
  source = data
  if in_file:
    source = case.folder / "sound.raw"
    source.write_bytes(data)
  tracemalloc.start()
  try:
    with case.refuses(AudioError, naming="clip 7"):
      _check(decode.read(source, "clip 7", max_seconds=max_seconds))
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert peak < _MOST_BYTES


def _check(sound: Sound) -> None:
  pcm = sound.pcm
  assert pcm.dtype == np.int16
  assert pcm.ndim == 1
  assert len(pcm)
  assert sound.channels >= 1
  assert decode.is_plausible_rate(sound.sample_rate)


@fuzzed(
  "audio decoder, names",
  name=st.text() | st.sampled_from(("a\0b", "\ud800", "a" * 5000, ".", "")),
)
def test_any_name_is_a_sound_or_an_audio_error(case, name):
  with case.refuses(AudioError):
    _check(decode.read(f"{case.folder}/{name.replace('/', '')}"))
