"""Texts as vectors: what compares an answer with the names of classes."""
