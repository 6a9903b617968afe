"""The picture of a clip: its waveform, and the filter banks of the encoder."""

import base64
import html
import io
import threading

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ltu_jax.audio.decode import SAMPLE_RATE
from ltu_jax.audio.filter_banks import FRAME, SHIFT, filter_banks
from ltu_jax.audio.heard import HEARD_SECONDS, Heard

SHOWN_SECONDS = 12.8
"""What is shown of a longer clip, so that the cut can be seen."""

_WIDTH, _HEIGHT, _DPI = 6.4, 3.8, 135
"""Inches, and pixels of one: sharp at twice the width of a column."""

_COLUMNS = 1600
"""Most pieces of a waveform that are drawn; more than there are pixels."""

_STYLE = {"font.size": 10, "axes.linewidth": 0.6, "figure.facecolor": "white"}

# Matplotlib's fonts are not for two threads at once.
_lock = threading.Lock()


def figure(heard: Heard) -> Figure:
  """Draws a clip: waveform above, log-mel filter banks below.

  The time axis is that of the clip. What lies beyond the part that is heard is
  shaded.
  """
  seconds = len(heard.pcm) / SAMPLE_RATE
  with _lock, matplotlib.style.context(_STYLE):
    drawn = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
    wave, mel = drawn.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    _draw_waveform(wave, heard.pcm)
    _draw_banks(mel, filter_banks(heard.clip))
    mel.set_xlim(0, seconds)
    mel.set_xlabel("seconds")
    if heard.cut:
      for axes in (wave, mel):
        axes.axvspan(HEARD_SECONDS, seconds, color="0.6", alpha=0.55, lw=0)
        axes.axvline(HEARD_SECONDS, color="0.2", lw=0.8)
      middle = (HEARD_SECONDS + seconds) / 2
      mel.text(middle, 64, "not heard", ha="center", va="center", rotation=90)
  return drawn


def png(heard: Heard) -> bytes:
  """The picture as a PNG file."""
  drawn, file = figure(heard), io.BytesIO()
  with _lock, matplotlib.style.context(_STYLE):
    FigureCanvasAgg(drawn).print_png(file)
  return file.getvalue()


def image_tag(heard: Heard) -> str:
  """The picture within a page: an <img> that needs no other file."""
  data = base64.b64encode(png(heard)).decode()
  name = html.escape(f"Waveform and log-mel filter banks of {heard.name}")
  return (
    f'<img class="ltu-picture" alt="{name}" src="data:image/png;base64,{data}">'
  )


def _draw_waveform(axes: Axes, pcm: np.ndarray) -> None:
  """Draws samples; of very many, the least and the greatest of each piece."""
  wave = pcm.astype(np.float32) / 32768
  size = -(-len(wave) // _COLUMNS)
  starts = np.arange(0, len(wave), size)
  if size == 1:
    axes.plot(starts / SAMPLE_RATE, wave, lw=0.6, color="C0")
  else:
    axes.fill_between(
      starts / SAMPLE_RATE,
      np.minimum.reduceat(wave, starts),
      np.maximum.reduceat(wave, starts),
      lw=0.4,
      color="C0",
    )
  # At least a little, or silence has no axis.
  most = max(1.05 * float(np.abs(wave).max()), 0.01)
  axes.set_ylim(-most, most)
  axes.set_ylabel("waveform")


def _draw_banks(axes: Axes, banks: np.ndarray) -> None:
  """Draws filter banks [frames, mels], each frame at its middle."""
  first = (FRAME - SHIFT) / 2 / SAMPLE_RATE
  last = first + len(banks) * SHIFT / SAMPLE_RATE
  axes.imshow(
    banks.T,
    aspect="auto",
    origin="lower",
    interpolation="nearest",
    cmap="magma",
    extent=(first, last, -0.5, banks.shape[1] - 0.5),
  )
  axes.set_yticks([0, 32, 64, 96, 127])
  axes.set_ylabel("mel bin")
