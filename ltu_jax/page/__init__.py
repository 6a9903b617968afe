"""Pages of HTML that are whole in one file, with nothing from elsewhere.

Used by `evaluate` (the report of results) and `aqa` (statistics and samples of
questions).
"""
