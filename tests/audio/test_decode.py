"""Decoding: every format and rate, and every way a file can be bad."""

import io
import os
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from ltu_jax.audio import decode as decode_lib
from ltu_jax.audio import fbank
from ltu_jax.audio.decode import AudioError, decode


def tone(hz, rate, seconds=1.0, level=0.5):
  return level * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def encode(samples, rate, format_, subtype=None):
  buffer = io.BytesIO()
  soundfile.write(buffer, samples, rate, format=format_, subtype=subtype)
  return buffer.getvalue()


@pytest.fixture
def pcm():
  rng = np.random.default_rng(0)
  samples = rng.integers(-32768, 32768, 20000, dtype=np.int16)
  samples[:4] = [-32768, 32767, -1, 0]
  return samples


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "AIFF", "AU", "RF64"])
def test_16_bit_at_16_khz_passes_through_bit_by_bit(pcm, format_, tmp_path):
  data = encode(pcm, 16000, format_, "PCM_16")
  path = tmp_path / "sound.of.any.name"
  path.write_bytes(data)
  for source in (data, path, str(path)):
    got = decode(source)
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, pcm)


@pytest.mark.parametrize(
  ("format_", "subtype", "tolerance"),
  [
    ("WAV", "PCM_24", 1),  # rounding to 16 bits
    ("WAV", "PCM_32", 1),
    ("WAV", "FLOAT", 1),
    ("WAV", "DOUBLE", 1),
    ("WAV", "PCM_U8", 256),  # one step of 8 bits
    ("FLAC", "PCM_24", 1),
    ("OGG", "VORBIS", 1500),  # lossy: 5 % of full scale
    ("MP3", "MPEG_LAYER_III", 1500),
  ],
)
def test_every_subtype_keeps_the_waveform(format_, subtype, tolerance):
  wave = tone(440, 16000)
  got = decode(encode(wave, 16000, format_, subtype))
  assert got.shape == wave.shape
  # The ends are left out: lossy codecs smear there.
  error = np.abs(got - wave * 32768)[800:-800]
  assert error.max() <= tolerance


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
@pytest.mark.parametrize("hz", [100, 3000])
def test_a_resampled_tone_stays_the_same_tone(rate, hz):
  got = decode(encode(tone(hz, rate), rate, "WAV", "FLOAT"))
  want = tone(hz, 16000) * 32768
  assert got.shape == want.shape
  # soxr HQ is good to 20 bits inside the band: what remains is the rounding
  # to 16 bits (0.5) and a little. At the ends the filter sees the cut.
  assert np.abs(got - want)[800:-800].max() < 1.0


def test_what_16_khz_cannot_hold_is_filtered_and_not_aliased():
  got = decode(encode(tone(11000, 44100), 44100, "WAV", "FLOAT"))
  # 11 kHz would fold to 5 kHz; HQ's stop band is below -100 dB.
  assert np.abs(got[800:-800]).max() <= 1


@pytest.mark.parametrize("channels", [2, 6])
def test_the_first_channel_is_taken(pcm, channels):
  others = np.zeros((len(pcm), channels - 1), np.int16) + 12345
  both = np.concatenate([pcm[:, None], others], axis=1)
  np.testing.assert_array_equal(decode(encode(both, 16000, "WAV")), pcm)


def test_louder_than_full_scale_is_clipped_not_wrapped():
  wave = np.array([0.0, 1.0, 2.0, -1.0, -2.0], np.float32)
  got = decode(encode(wave, 16000, "WAV", "FLOAT"))
  assert got.tolist() == [0, 32767, 32767, -32768, -32768]


def test_max_seconds_is_the_start_of_the_whole():
  rng = np.random.default_rng(0)
  data = encode(rng.uniform(-0.5, 0.5, 44100 * 3), 44100, "WAV")
  got = decode(data, max_seconds=1.5)
  assert got.shape == (24000,)
  # The margin holds the resampler's whole filter; 1 is a rounding step.
  assert np.abs(got.astype(int) - decode(data)[:24000]).max() <= 1
  assert decode(data, max_seconds=99).shape == (48000,)


def test_max_seconds_reads_no_more_than_it_needs():
  data = encode(np.zeros((16000 * 60, 2), np.int16), 16000, "WAV")
  tracemalloc.start()
  decode(data, max_seconds=1.0)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  # A second is 64 kB as float32; a block of two channels 0.5 MB; the whole
  # would be 7.7 MB.
  assert peak < 2e6


def test_missing_file_and_folder_are_named(tmp_path):
  with pytest.raises(AudioError, match=r"not-there\.wav: cannot be opened: No"):
    decode(tmp_path / "not-there.wav")
  with pytest.raises(AudioError, match="cannot be opened: Is a directory"):
    decode(tmp_path)


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", "empty"),
    (b"This is text, not sound.\n" * 50, "not audio"),
    (b"RIFF", "not audio"),
    (b"fLaC" + bytes(60), "damaged"),
  ],
)
def test_a_file_that_is_no_sound_is_named(tmp_path, content, reason):
  path = tmp_path / "text.wav"
  path.write_bytes(content)
  with pytest.raises(AudioError, match=rf"text\.wav: .*{reason}"):
    decode(path)


def test_bytes_are_named_by_the_caller_or_by_their_size():
  with pytest.raises(AudioError, match=r"^clip 7: the file is empty"):
    decode(b"", name="clip 7")
  with pytest.raises(AudioError, match=r"^5 bytes of sound: "):
    decode(b"hello")


@pytest.mark.parametrize(
  "format_", ["WAV", "AIFF", "AU", "FLAC", "MP3", "RF64"]
)
def test_a_cut_file_is_an_error(format_):
  # Longer than a block, so that the cut comes after what was read first.
  noise = np.random.default_rng(0).uniform(-0.5, 0.5, 150000)
  data = encode(noise, 16000, format_)
  assert decode(data).shape == (150000,)
  with pytest.raises(AudioError, match=r"^half: .*(cut short|damaged)"):
    decode(data[: len(data) // 2], name="half")


def test_a_header_that_claims_4_gb_is_an_error_and_allocates_nothing(pcm):
  data = bytearray(encode(pcm, 16000, "WAV"))
  at = data.index(b"data") + 4
  data[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)
  tracemalloc.start()
  with pytest.raises(AudioError, match="claims 4294967280 bytes"):
    decode(bytes(data))
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 1e6


def flac_that_claims(pcm, frames):
  """FLAC bytes whose stream info says `frames` (36 bits), whatever follows."""
  data = bytearray(encode(pcm, 16000, "FLAC"))
  data[21] = data[21] & 0xF0 | frames >> 32
  data[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
  return bytes(data)


def test_a_flac_that_claims_too_much_is_an_error_and_allocates_little(pcm):
  data = flac_that_claims(pcm, (1 << 36) - 1)
  tracemalloc.start()
  with pytest.raises(AudioError, match=r"^claims: "):
    decode(data, name="claims")
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 2e6


def test_a_flac_of_unstated_length_says_what_to_do(pcm):
  with pytest.raises(AudioError, match="does not state its length; write it"):
    decode(flac_that_claims(pcm, 0))


def test_no_samples_is_an_error():
  with pytest.raises(AudioError, match=r"^none: holds no samples"):
    decode(encode(np.zeros(0), 16000, "WAV"), name="none")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_errors(bad):
  wave = np.zeros(2000, np.float32)
  wave[1234] = bad
  with pytest.raises(AudioError, match=r"^clip: .*NaN or infinite"):
    decode(encode(wave, 16000, "WAV", "FLOAT"), name="clip")


@pytest.mark.parametrize("rate", [1, 2**31 - 1])
def test_an_implausible_rate_is_an_error(pcm, rate):
  data = bytearray(encode(pcm, 16000, "WAV"))
  data[24:28] = struct.pack("<I", rate)
  with pytest.raises(AudioError, match=f"sample rate of {rate} Hz"):
    decode(bytes(data))


def test_audio_error_is_a_value_error():
  assert issubclass(AudioError, ValueError)
  assert decode_lib.SAMPLE_RATE == 16000
  assert decode_lib.CLIP_SAMPLES == fbank.CLIP_SAMPLES


def test_the_name_says_nothing_of_the_content(pcm, tmp_path):
  # soundfile takes a name in .raw for samples without a header.
  path = tmp_path / "sound.raw"
  path.write_bytes(encode(pcm, 16000, "WAV"))
  np.testing.assert_array_equal(decode(path), pcm)


@pytest.mark.filterwarnings("error")
def test_a_seek_to_where_nothing_is_does_not_fail():
  stream = decode_lib._Steady(io.BytesIO(b"12345"), 5)
  assert stream.seek(-9, os.SEEK_END) == 0
  assert stream.seek(2) == stream.tell() == 2
  assert stream.seek(-1, os.SEEK_CUR) == 1
  assert stream.seek(-1 << 63) == 0
  assert stream.read(2) == b"12"
  assert stream.seek(1 << 60, os.SEEK_CUR) == 5


@pytest.mark.filterwarnings("error")
def test_the_loudest_floats_are_clipped_without_a_warning():
  wave = np.array([3e38, -3e38, 0.5], np.float32)
  got = decode(encode(wave, 16000, "WAV", "FLOAT"))
  assert got.tolist() == [32767, -32768, 16384]


def test_what_is_no_plain_file_is_named_and_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "pipe.wav")
  with pytest.raises(AudioError, match=r"pipe\.wav: .* is no plain file"):
    decode(tmp_path / "pipe.wav")
  for name in ("a\0b", "\ud800"):
    with pytest.raises(AudioError, match="cannot be opened") as caught:
      decode(name)
    assert caught.value.kind == "unopened"


def test_two_hours_in_a_small_file_are_too_many(tmp_path):
  path = tmp_path / "bomb.flac"
  with soundfile.SoundFile(path, "w", 16000, 1) as sound:
    for _ in range(120):
      sound.write(np.zeros(60 * 16000, np.int16))
  assert path.stat().st_size < 2e6
  tracemalloc.start()
  with pytest.raises(AudioError, match=r"bomb\.flac: 120 minutes") as caught:
    decode(path)
  assert caught.value.kind == "too_long"
  assert decode(path, max_seconds=1.0).shape == (16000,)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 2e6


def test_a_low_rate_counts_by_what_it_becomes():
  # A quarter of the samples that may be read; 16 times as many at 16 kHz.
  silence = np.zeros(decode_lib.MAX_SAMPLES // 4, np.int8)
  data = encode(silence.astype(np.int16), 1000, "FLAC")
  with pytest.raises(AudioError, match="280 minutes"):
    decode(data)


def test_many_channels_take_no_more_memory_than_few():
  data = encode(np.zeros((20000, 500), np.int16), 16000, "WAV")
  tracemalloc.start()
  decode(data, max_seconds=1.0)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  # A block is 0.5 MB whatever the channels; all of them would be 32 MB.
  assert peak < 2e6
