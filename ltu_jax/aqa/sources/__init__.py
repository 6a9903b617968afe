"""Readers of labelled sounds in their owners' formats: one a file."""
