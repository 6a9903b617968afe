"""What ends the asking of a server with one line that says what to do."""


class EndpointError(ValueError):
  """A mistake that the user can mend; the message names it and says how."""


class NoReplyError(EndpointError):
  """A request without a reply.

  Attributes:
    lasting: Whether the next request would fare no better: a wrong key, no
      such model, nothing left to spend, no server.
  """

  def __init__(self, message: str, lasting: bool):
    """Takes the line for the user."""
    super().__init__(message)
    self.lasting = lasting
