"""Every field of a run, with its meaning; the values are LTU-7B as published.

In the package, so that it knows the fields of a config and their types without
the folder of config files.
"""

import ml_collections

from ltu_jax import config as config_lib
from ltu_jax import curriculum
from ltu_jax.audio.augment import Augment
from ltu_jax.guard import Guard
from ltu_jax.models.ltu import LtuConfig


def get_config() -> ml_collections.ConfigDict:
  """Returns the published sizes, curriculum and optimiser."""
  model = LtuConfig()
  config = ml_collections.ConfigDict()
  # Decides start values, adapter dropout and the order of the questions.
  config.seed = 0
  # Devices along each axis; -1 takes those that are left.
  config.mesh = {"data": 1, "fsdp": -1, "tensor": 1}
  # Sizes; the fields are documented at their dataclasses in ltu_jax/models.
  config.model = {
    "encoder": config_lib.fields(model.encoder),
    "projector": config_lib.fields(model.projector),
    "llama": config_lib.fields(model.llama),
    "lora": config_lib.fields(model.lora),
  }
  # Base folder that `python -m ltu_jax.convert import` made, or a copy of it in
  # a bucket, gs://...; the sizes of its parts take the place of those above. ""
  # draws everything from the seed.
  config.base = ""
  config.tokenizer = {
    # A SentencePiece model; "" takes the base folder's, or trains one on the
    # questions.
    "model": "",
    # Pieces of the one that is trained.
    "vocab_size": 1000,
  }
  config.data = {
    # "tfds", or "synthetic": made-up batches, for dry runs and measurements
    # without data, tokenizer or TensorFlow.
    "source": "tfds",
    # TFDS data set and builder config.
    "name": "openaqa/mini",
    # TFDS's folder, or one in a bucket, gs://...; "" is TFDS's default
    # (~/tensorflow_datasets).
    "dir": "",
    # Build openaqa/mini where it is not there yet.
    "prepare": True,
    # Own sounds for openaqa/mini, CLASS/CLIP.wav; "" fetches packages.
    "sounds_dir": "",
    # Scenes that openaqa/mini composes; 0 is its default.
    "num_train": 0,
    "num_test": 0,
    # Rows an optimiser step takes, over all hosts and micro-batches. A row is a
    # clip and one question, or as many as the next two let it have: a step then
    # has batch_size times the mean of that, which a stage prints as it begins.
    "batch_size": 256,
    # Questions about its clip that a row holds at most.
    "questions_per_row": 1,
    # Text tokens of a row of several questions; 0 for max_tokens.
    "row_tokens": 0,
    # Widths of narrower batches, such as (48, 72), for rows that hold less: the
    # step is compiled for each. With one question a row, all have batch_size
    # rows; with several, narrow ones have more (ltu_jax/data/buckets.py).
    "length_buckets": (),
    # Parts into which a batch is cut to save memory.
    "micro_batches": 1,
    # Text tokens of a question; longer ones are cut (cutoff_len of LTU).
    "max_tokens": 108,
    # Whether the prompt is a target too, as published.
    "train_on_inputs": True,
    # Share of the rows that lose their audio, and so teach the model to answer
    # without; the published training has none.
    "drop_audio": 0.0,
    # A question whose clip cannot be read is skipped: it trains nothing, and
    # WORKDIR/unreadable.jsonl has the clip. Where they are more than this share
    # of a stage's rows so far (and ten rows, or all), the run stops; 0 stops it
    # at the first, 1 never.
    "max_unreadable": 0.01,
    # Threads that decode clips and make rows; 32 for data in a bucket, where
    # they wait for it most of the time.
    "num_threads": 8,
    # A batch that takes longer than so many seconds is told, with the stacks of
    # all threads in WORKDIR/stalled-TIME.txt; after the second, the run stops.
    "stall_seconds": 300.0,
    "give_up_seconds": 1800.0,
  }
  # Off, as published; the fields are documented at audio/augment.py.
  config.augment = config_lib.fields(Augment())
  config.optimizer = {
    # Gradients are scaled down to this norm.
    "max_grad_norm": 1.0,
    # "tokens" or "micro_batch"; see ltu_jax/train_step.py.
    "loss_norm": "tokens",
    # Text positions whose logits exist at a time, to save memory; 0 for all.
    "loss_chunk": 36,
  }
  # The curriculum; the fields are documented at curriculum.Stage.
  config.stages = {
    f"stage{s.number}": config_lib.fields(s) for s in curriculum.PUBLISHED
  }
  # Steps between progress lines, and between checkpoints.
  config.log_every = 10
  config.checkpoint_every = 500
  # Checkpoints of a stage that are kept: the latest; those at multiples of so
  # many steps, 0 for none; and those where a metric's mean since the checkpoint
  # before is lowest, 0 for none.
  config.keep_checkpoints = 2
  config.keep_every = 0
  config.keep_best = 0
  config.keep_best_metric = "loss"
  # Which updates are not made; the fields are documented at guard.Guard.
  config.guard = config_lib.fields(Guard())
  config.profile = {
    # Steps of a stage of which a trace is written to WORKDIR/profile, for xprof
    # (docs/profiling.md): "10:15" are the steps 10 to 15, both of them, by
    # their numbers in metrics.jsonl. "" is off.
    "steps": "",
    # Number of the stage; -1 is the first that trains in this start.
    "stage": -1,
  }
  config.debug = {
    # WORKDIR/bad_batches/FILE.json of a batch whose update was skipped: it is
    # looked at again, row by row, in place of training.
    "replay": "",
  }
  config.eval = {
    # Held-out questions of a kind asked at the end of a stage; 0 for none.
    "stage_items": 64,
    # Held-out questions of a kind asked at the end of the run; 0 for none.
    "final_items": 500,
    # Rows answered at once.
    "batch_size": 32,
    # Answers are cut after so many tokens.
    "max_new_tokens": 48,
    # Sets of `python -m ltu_jax.evaluate`, between commas, such as
    # "mini,esc50"; "" for none. Asked at the end of each stage.
    "sets": "",
    # Folder of the sets' folders; see docs/evaluation.md.
    "sets_dir": "",
    # And every so many steps; 0 for the end of each stage alone.
    "sets_every": 0,
    # Items of a set, at even distances.
    "sets_items": 64,
  }
  return config
