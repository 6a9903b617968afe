"""Open-ended questions and acoustic features, by a language model.

Files: prompt.py (what it is asked about a clip), parsing.py (the pairs in its
reply), command.py (`ask`: asks about records), open_file.py (the replies as the
published JSON), features.py and features_command.py (`features`: how labels
sound). Nothing here imports a model of ours.
"""
