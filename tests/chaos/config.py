"""The run that is broken: two stages, a checkpoint every three steps."""

import os

import ml_collections

from configs import published

STAGES = (1, 4)
STEPS = 12


def get_config() -> ml_collections.ConfigDict:
  """Returns the config; CHAOS_DATA names a folder of real records, if set."""
  config = published.get_config("tiny", STAGES)
  for stage in config.stages.values():
    stage.update(
      steps=STEPS, handoff_step=0, warmup_steps=2, peak_lr=1e-2, max_tokens=48
    )
  config.data.update(source="synthetic", batch_size=4, num_threads=2)
  if folder := os.environ.get("CHAOS_DATA"):
    config.data.update(
      source="tfds",
      name="openaqa/mini",
      dir=folder,
      sounds_dir=f"{folder}/../classes",
      num_train=12,
      num_test=8,
      max_unreadable=1.0,
      max_tokens=64,
    )
    for stage in config.stages.values():
      stage.update(tasks=(), max_tokens=64)
    config.tokenizer.vocab_size = 330
  config.eval.update(stage_items=0, final_items=0)
  config.log_every = 1
  config.checkpoint_every = 3
  return config
