"""One ArrayRecord copy that serves `tfds.data_source` and `tfds.load`.

TFDS 4.9.10 reads ArrayRecord only through `tfds.data_source`, and TFRecord only
through `tfds.load`. The mixin below makes a builder write ArrayRecord and
builds its `tf.data.Dataset` from the same files, so nothing is stored twice.
"""

from typing import Any

import tensorflow_datasets as tfds


class ArrayRecordMixin:
  """Put before `tfds.core.GeneratorBasedBuilder` in the list of bases."""

  def __init__(self, *, file_format: Any = "array_record", **kwargs: Any):
    """Passes everything on, with ArrayRecord as the default format.

    Args:
      file_format: Format of the record files.
      **kwargs: What the TFDS builder takes.
    """
    super().__init__(file_format=file_format, **kwargs)

  def _as_dataset(
    self, split="train", decoders=None, read_config=None, shuffle_files=False
  ):
    """Builds a `tf.data.Dataset` from the ArrayRecord files.

    Called by `tfds.load` and `as_dataset`; TensorFlow is imported here and
    nowhere else.

    Args:
      split: Split, or slice of a split, to read.
      decoders: Passed to the feature decoder.
      read_config: `tfds.ReadConfig`; its `shuffle_seed` is used.
      shuffle_files: Whether to shuffle. Records are read at random, so all of
        them are shuffled, not only the files.

    Returns:
      A dataset of decoded examples, in record order unless shuffled.
    """
    if not self.info.splits:
      # Nothing is on disk: tfds.testing.mock_data makes up what TFDS reads.
      return super()._as_dataset(
        split,
        decoders=decoders,
        read_config=read_config,
        shuffle_files=shuffle_files,
      )

    import tensorflow as tf

    source = self.as_data_source(
      split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    order = tf.data.Dataset.range(len(source))
    if shuffle_files:
      seed = read_config.shuffle_seed if read_config else None
      order = order.shuffle(len(source), seed=seed)

    def read(index):
      record = tf.numpy_function(
        lambda i: source[int(i)], [index], tf.string, stateful=False
      )
      # numpy_function forgets the shape, and the decoder needs a scalar.
      record = tf.ensure_shape(record, ())
      return self.info.features.deserialize_example(record, decoders=decoders)

    return order.map(
      read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
