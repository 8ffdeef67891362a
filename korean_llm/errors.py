"""The exceptions a user is meant to see."""


class KoreanLLMError(Exception):
    """A problem the user can act on.

    The message is one sentence (or one block, where several errors of one file are reported at once) that
    names the value, what was expected, what exists, and the next command. The command line prints it without
    a traceback and exits with status 2.
    """


class StoppedError(KoreanLLMError):
    """Work that was asked to stop and did, in good order; the command line exits with the status given."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
