"""The quickstart's config at the smallest size, on generated sounds."""

from configs import quickstart


def tiny(sounds, **changes):
  config = quickstart.get_config()
  config.data.update(
    dir=str(sounds / "data"),
    sounds_dir=str(sounds / "classes"),
    num_train=12,
    num_test=8,
    batch_size=8,
    max_tokens=64,
  )
  config.tokenizer.vocab_size = 330
  for part in (config.model.encoder, config.model.llama):
    part.update(dim=16)
  config.model.encoder.update(depth=1, patch_mels=64, patch_frames=64)
  config.model.projector.time_pool = 1
  config.model.llama.update(
    layers=1, mlp_dim=16, heads=2, kv_heads=2, head_dim=8
  )
  config.model.lora.rank = 2
  # Text alone, the projection, and all that stages 2 to 4 train.
  config.stages = {
    name: config.stages[name].to_dict()
    for name in ("stage0", "stage1", "stage2")
  }
  for stage in config.stages.values():
    stage.update(steps=3, warmup_steps=1, peak_lr=1e-2)
  config.eval.update(stage_items=0, final_items=0, max_new_tokens=8)
  config.log_every = 1
  config.checkpoint_every = 1
  config.update(changes)
  return config
