"""Compiles any config for any TPU topology without a TPU."""
