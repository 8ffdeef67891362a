"""The one exception a user is meant to see."""


class KoreanLLMError(Exception):
    """A problem the user can act on.

    The message is one sentence (or one block, where several errors of one file are reported at once) that
    names the value, what was expected, what exists, and the next command. The command line prints it without
    a traceback and exits with status 2.
    """
