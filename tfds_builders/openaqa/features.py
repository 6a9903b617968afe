"""What a record holds, as TFDS features.

Importing it needs TensorFlow, so the builder does so when it is asked for them.
"""

import base64

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.proto import feature_pb2


class FlacFile(tfds.features.Tensor):
  """The bytes of a FLAC file; `tfds.as_dataframe` shows a player.

  TFDS's own Audio feature would decode with ffmpeg or tensorflow-io. Who reads
  the data set without this package gets a plain Tensor of bytes: that is what
  is written to its `features.json`.
  """

  def __init__(self, doc: str):
    """Makes the feature.

    Args:
      doc: What the sound is.
    """
    super().__init__(shape=(), dtype=np.object_, doc=doc)

  def repr_html(self, ex: bytes) -> str:
    """Returns a player for the sound."""
    sound = base64.b64encode(ex).decode("ascii")
    return f'<audio controls src="data:audio/flac;base64,{sound}"></audio>'

  def to_proto(self) -> feature_pb2.Feature:
    """Describes itself as the plain feature that anybody can read."""
    plain = tfds.features.Tensor(shape=(), dtype=np.object_, doc=self.doc.desc)
    return plain.to_proto()


def _text(doc: str) -> tfds.features.Text:
  """A text and what it is."""
  return tfds.features.Text(doc=doc)


def _clip() -> dict[str, tfds.features.FeatureConnector]:
  """What every record begins with."""
  return {
    "id": _text("Name of the clip."),
    "audio": FlacFile("FLAC file: 16 kHz, mono, int16."),
  }


def _questions() -> dict[str, tfds.features.FeatureConnector]:
  """What every question holds."""
  return {
    "instruction": _text("The question."),
    "output": _text("The answer."),
    "task": _text("Kind of question, named as in OpenAQA."),
    "dataset": _text("Where the clip is from."),
  }


def full() -> tfds.features.FeaturesDict:
  """Returns the features of `openaqa/full`."""
  questions = _questions() | {
    "input": _text("More text of the question; empty in OpenAQA.")
  }
  return tfds.features.FeaturesDict(
    _clip() | {"questions": tfds.features.Sequence(questions)}
  )


def mini() -> tfds.features.FeaturesDict:
  """Returns the features of `openaqa/mini`, whose events are known."""
  events = {
    "label": _text("Class of the sound."),
    "feature": _text("Acoustic feature of the class."),
    "recording": _text("Name of the recording."),
    "onset": tfds.features.Scalar(np.float32, doc="Seconds."),
    "offset": tfds.features.Scalar(np.float32, doc="Seconds."),
    "level": tfds.features.Scalar(np.float32, doc="RMS in dB of full scale."),
  }
  return tfds.features.FeaturesDict(
    _clip()
    | {
      "questions": tfds.features.Sequence(_questions()),
      "events": tfds.features.Sequence(events),
      "caption": _text("A sentence that tells the events in order."),
    }
  )
