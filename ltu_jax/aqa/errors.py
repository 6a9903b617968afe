"""What ends a command of `ltu_jax.aqa` with one line that says what to do."""


class AqaError(ValueError):
  """A mistake that the user can mend; the message names it and says how."""
