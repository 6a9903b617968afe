"""Whether an answer answers its question, by a language model that judges.

Files: prompt.py (what a judge is asked, and what its words mean), verdicts.py
(the file of verdicts), cost.py (what it will cost), judge.py (the asking).
Nothing here imports a model of ours.
"""
