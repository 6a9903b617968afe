"""Answering many questions at once: continuous batching, streams, dialogues."""
