"""What ends an evaluation with one line that says what to do."""


class EvaluateError(ValueError):
  """A mistake that the user can mend; the message names it and says how."""
