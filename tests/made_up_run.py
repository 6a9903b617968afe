"""A tiny run on made-up batches: two stages, no data, seconds."""

from configs import published

STEPS = 6


def config(stages=(1, 4), **changes):
  """The tiny config of these stages; `changes` are flattened fields."""
  made = published.get_config("tiny", stages)
  for stage in made.stages.values():
    stage.update(
      steps=STEPS, handoff_step=0, warmup_steps=1, peak_lr=1e-2, max_tokens=24
    )
  made.data.update(source="synthetic", batch_size=8, num_threads=1)
  made.eval.update(stage_items=0, final_items=0)
  made.log_every = 1
  made.checkpoint_every = 2
  made.update_from_flattened_dict(
    {name.replace("__", "."): value for name, value in changes.items()}
  )
  return made
