"""Prepares OpenAQA for training: builds it on rented CPUs, into a bucket.

Needs Python 3.11 and, but for dry runs and estimates, Google's gcloud; nothing
here imports JAX or ltu_jax. python -m launch.prepare --help; docs/prepare.md
goes through it.
"""
