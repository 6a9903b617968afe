"""Asking models behind servers with OpenAI's HTTP API.

Files: client.py (the client, and its errors in one line), chat.py (one
request), cost.py (what it costs), kept.py (the file of replies), pool.py
(threads), asking.py (many requests: several at once, no more than they may
cost). Nothing here imports a model of ours.
"""
