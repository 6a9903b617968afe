"""Looking at OpenAQA files: quality gates, statistics, and pages to browse.

Everything here reads JSON files of the published form as a stream, whoever made
them; see command.py.
"""
