"""Whether an answer answers its question, by a language model that judges.

Files: prompt.py (what a judge is asked, and what its words mean), verdicts.py
(the file of verdicts), judge.py (the asking, by ltu_jax/endpoint). Nothing here
imports a model of ours.
"""
