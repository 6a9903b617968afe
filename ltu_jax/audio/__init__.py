"""From the bytes of a sound to its log-mel filter banks."""
