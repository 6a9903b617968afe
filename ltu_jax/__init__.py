"""LTU (Listen, Think, and Understand) in JAX: hear a clip, answer about it."""
