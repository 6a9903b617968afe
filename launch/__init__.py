"""Trains on a Cloud TPU VM, from one command line on any machine.

Needs Python 3.11 and Google's gcloud; nothing here imports JAX or ltu_jax.
python -m launch.tpu_vm --help; docs/tpu.md goes through all of it.
"""
