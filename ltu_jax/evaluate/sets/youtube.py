"""Names of the sound files of YouTube clips: every downloader has its own."""

from collections.abc import Iterator


def names(
  video: str, start: float, end: float, *, alone: bool
) -> tuple[str, ...]:
  """What the file of a clip may be called, the more telling names first.

  Args:
    video: YouTube's id.
    start: Begin of the clip in seconds.
    end: Its end.
    alone: Whether no other clip of the set is from this video; only then is a
      file without a time taken for it.
  """
  return tuple(
    f"{prefix}{video}{span}.wav"
    for span in (*_spans(start, end), *([""] if alone else []))
    # A leading Y keeps ids that begin with "-" from looking like options.
    for prefix in ("", "Y")
  )


def _spans(start: float, end: float) -> Iterator[str]:
  """Ways to write the time: seconds as in AudioSet's tables, whole, ms."""
  yield f"_{start:.3f}_{end:.3f}"
  yield f"_{start:.1f}_{end:.1f}"
  yield f"_{round(start):06d}"
  for one, other in ((start, end), (1000 * start, 1000 * end)):
    yield f"_{round(one)}_{round(other)}"
    yield f"_{round(one)}"
