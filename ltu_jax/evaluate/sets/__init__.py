"""The sets that a model is evaluated on, and how each is read."""
