"""What the published scripts ask about every clip of a set.

They begin with "Close-ended", though training questions begin with
"Closed-ended".
"""

CAPTION = "Close-ended question: Write an audio caption describing the sound."
AUDIOCAPS = (
  "Close-ended question: Write an audio caption describing the sound, in "
  "AudioCaps style."
)
CLOTHO = "Close-ended question: Create a caption for audio, in Clotho style."

LABELS = "Close-ended question: Classify the sound events in the audio clip."
"""Asks for labels, in our words; the published scripts that read labels do not
say what was asked."""
