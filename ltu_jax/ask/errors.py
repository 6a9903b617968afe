"""What a user can mend."""


class AskError(ValueError):
  """A mistake of the user's; the message says what to do."""
