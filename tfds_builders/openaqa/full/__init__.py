"""Building `openaqa/full`: from JSON files and a user's audio to shards."""
