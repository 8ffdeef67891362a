"""What the Hub's client raises, as one sentence. No sentence holds a token, a header or a body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from korean_llm.errors import KoreanLLMError

_HTTP_LIBRARIES = ("httpx", "httpx2")
_NO_ANSWER = ("ConnectError", "ConnectTimeout", "ReadTimeout")  # of either HTTP library the client may use
_BAD_CARD = "Invalid metadata in README.md."
_SIGN_IN = "`hf auth login`"


@contextmanager
def hub_errors(repository: str, instead: str) -> Iterator[None]:
    """Turn whatever the client raises into one sentence; instead: what to do where the Hub is out of reach."""
    try:
        yield
    except KoreanLLMError:
        raise
    except Exception as error:
        sentence = _sentence(error, repository, instead)
        if sentence is None and isinstance(error, RuntimeError) and error.__cause__:
            sentence = _sentence(error.__cause__, repository, instead)  # an upload's own error, wrapped
        if sentence is None:
            raise
        raise KoreanLLMError(sentence) from None


def _sentence(error: BaseException, repository: str, instead: str) -> str | None:
    """The sentence for an error of the Hub or of the way to it; None for any other error."""
    if isinstance(error, HFValidationError):
        return f"{repository!r} is no Hub id; expected org/name."
    if isinstance(error, GatedRepoError):
        return f"{repository} is gated; accept its terms on its page of the Hub, and sign in with {_SIGN_IN}."
    if isinstance(error, RevisionNotFoundError):
        return f"{repository} has no such revision; its branches, tags and commits are listed on its page of the Hub."
    if isinstance(error, RepositoryNotFoundError):
        return _not_found(repository)
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return _out_of_reach(error, repository, instead)
    if isinstance(error, EntryNotFoundError):
        return f"{repository} lacks a file that was asked for; {instead}."
    if isinstance(error, HfHubHTTPError):
        return _refused(error, repository, instead)
    if type(error).__name__ in _NO_ANSWER:
        return f"the Hub ({constants.ENDPOINT}) did not answer for {repository}; {instead}."
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] in _HTTP_LIBRARIES:
        why = getattr(error, "strerror", None) or type(error).__name__
        return f"{repository} could not be transferred whole ({why}); try again: what is there is kept."
    if isinstance(error, ValueError) and str(error).startswith(_BAD_CARD):
        why = " ".join(str(error).removeprefix(_BAD_CARD).split())[:200]
        return f"the Hub refuses the card of {repository} ({why}); give --licence a name the Hub knows, as apache-2.0."
    return None


def _not_found(repository: str) -> str:
    """A private repository and one that is not there look alike to those who may not read it."""
    signed = "with the token in use" if get_token() else "without a token"
    return f"the Hub has no model {repository!r} that can be read {signed}; check the id, or sign in: {_SIGN_IN}."


def _out_of_reach(error: BaseException, repository: str, instead: str) -> str:
    if constants.is_offline_mode():
        return f"{repository} is not in the local cache, and HF_HUB_OFFLINE is set; {instead}."
    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403):
        return _refused(cause, repository, instead)
    return f"the Hub ({constants.ENDPOINT}) did not answer, and {repository} is not in the local cache; {instead}."


def _refused(error: HfHubHTTPError, repository: str, instead: str) -> str:
    status = error.response.status_code
    if status == 401 and get_token() is None:
        return _not_found(repository)
    if status == 401:
        return f"the Hub refused the token in use for {repository}; sign in again with {_SIGN_IN}, or mend HF_TOKEN."
    if status == 403:
        return f"the token in use may not do this in {repository}; use one that may write, with {_SIGN_IN}."
    return f"the Hub answered {repository} with status {status}; try again later, or {instead}."
