"""The networks: audio encoder, projector, LLaMA with LoRA, LTU."""
