"""TFDS builders of this project; importing this package registers them.

    import tensorflow_datasets as tfds
    import tfds_builders

    source = tfds.data_source("openaqa/mini", split="train")  # no TensorFlow
    dataset = tfds.load("openaqa/mini", split="train")  # tf.data

Both read the one ArrayRecord copy on disk (see `array_record.py`).
"""

from tfds_builders.openaqa import openaqa_dataset_builder

__all__ = ["openaqa_dataset_builder"]
