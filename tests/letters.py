"""A tokenizer for the golden models, whose answers differ from clip to clip.

Their vocabularies are too small for a SentencePiece model; no test by itself.
"""

import golden_data


class Letters:
  """One token a character of printable ASCII; any token has a text.

  Attributes:
    vocab_size: Of golden model `forward_a`.
    bos_id: As LLaMA's, as are the next two.
    eos_id: 2, or another, such as -1 for answers that never end.
    pad_id: 0.
  """

  bos_id, pad_id = 1, 0

  def __init__(self, eos_id=2):
    self.vocab_size = golden_data.config("forward_a").llama.vocab
    self.eos_id = eos_id

  def encode(self, text, *, bos, eos):
    ids = [3 + ord(c) % (self.vocab_size - 3) for c in text]
    return [self.bos_id] * bos + ids + [self.eos_id] * eos

  def decode(self, ids):
    return "".join(chr(0x4E00 + i) for i in ids if i > self.eos_id)


def model():
  """The golden model that it belongs to."""
  return golden_data.model("forward_a")
