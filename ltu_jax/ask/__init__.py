"""Asks a trained model about sounds, on the command line (see cli.py)."""

from ltu_jax.ask.command import main

__all__ = ["main"]
