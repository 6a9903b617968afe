"""Prompts, tokenizers and the input pipeline."""
