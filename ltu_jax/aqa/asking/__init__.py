"""Open-ended questions and acoustic features, by a language model.

Files: prompt.py (what it is asked about a clip), clips.py (asking about many),
objects.py and parsing.py (the pairs in its replies), open_file.py (the replies
as the published JSON), command.py (the command `ask`), features.py and
features_command.py (`features`: how labels sound). Nothing here imports a model
of ours.
"""
