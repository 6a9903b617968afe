"""The report of an evaluation: a page, a Markdown file and a CSV.

Results are read (folders.py), held against each other (comparing.py) and put
into plain values (table.py, sections.py); templates make a page of them.
"""
