"""How good captions are: CIDEr-D, BLEU, ROUGE-L, METEOR, SPICE, similarity.

Nothing here imports JAX.
"""
