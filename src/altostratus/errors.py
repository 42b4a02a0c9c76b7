"""The errors that a user is meant to see."""


class Error(Exception):
    """Something failed in an expected way: one message, and a hint of what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
