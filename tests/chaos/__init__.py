"""Breaks training runs in every way we know; nothing may be lost."""
