"""Requests as clients of the OpenAI interface send them, checked, and as this project asks: history and sampling.

Fields that would change an answer and are not honoured here are refused rather than passed over; fields that only
describe the request (metadata, store …) are let through.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from korean_llm.answering.answer import Request, Sampling, Turn
from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.index import checked_question
from korean_llm.serving.refusal import RefusedError, invalid

MAX_MESSAGES = 400
MAX_INPUTS = 256
MAX_NEW_TOKENS = 8_192

# What a field may hold beside null where it is not honoured: the value that asks for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "logprobs": (False,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
}

Stop = Annotated[str, Field(min_length=1, max_length=200)]
BodyT = TypeVar("BodyT", bound=BaseModel)


class _Part(BaseModel):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: str


class _Spoken(BaseModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    @property
    def text(self) -> str:
        """The content as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatBody(BaseModel):
    """The body of /v1/chat/completions; `fresh` asks for a new answer though one be kept."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str
    messages: list[_Spoken] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: _StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    user: str = Field(default="", max_length=200)
    fresh: bool = False

    @field_validator("user", mode="before")
    @classmethod
    def _nobody(cls, value: Any) -> Any:
        return "" if value is None else value

    @model_validator(mode="after")
    def _honoured(self) -> ChatBody:
        for name, value in (self.model_extra or {}).items():
            if name in _NEUTRAL and value is not None and value not in _NEUTRAL[name]:
                raise ValueError(f"{name} is not supported by this server; leave it out")
        return self

    @property
    def conversation(self) -> list[Message]:
        """The messages as a model reads them."""
        roles = {"developer": "system"}
        return [{"role": roles.get(said.role, said.role), "content": said.text} for said in self.messages]

    @property
    def sampling(self) -> Sampling:
        """How the answer's words are chosen; what is not named is as everywhere in this project, so greedy."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        wanted = self.max_completion_tokens or self.max_tokens
        return Sampling(
            temperature=Sampling.temperature if self.temperature is None else self.temperature,
            top_p=Sampling.top_p if self.top_p is None else self.top_p,
            max_new_tokens=min(wanted, MAX_NEW_TOKENS) if wanted else None,
            seed=Sampling.seed if self.seed is None else self.seed,
            stop=tuple(stop),
        )

    @property
    def request(self) -> Request:
        """The last message as a question, what was said before as its history.

        System messages are for the plain model: cited answers are made under the project's own instructions. Raises
        RefusedError where the last message is not the user's, or its question is empty or too long.
        """
        *before, last = self.messages
        if last.role != "user":
            raise RefusedError(400, "invalid_request", "the last message must be the user's", param="messages")
        try:
            question = checked_question(last.text)
        except KoreanLLMError as error:
            raise RefusedError(400, "invalid_question", str(error), param="messages") from None
        return Request(question, tuple(_turns(before)), self.sampling, self.fresh)


def _turns(messages: list[_Spoken]) -> list[Turn]:
    """Questions with what was answered; an unanswered one stands alone, an answer without a question is left out."""
    turns: list[Turn] = []
    for said in messages:
        if said.role == "user":
            turns.append(Turn(said.text, ""))
        elif said.role == "assistant" and turns:
            last = turns[-1]
            turns[-1] = Turn(last.question, f"{last.answer}\n{said.text}".strip())
    return turns


class EmbeddingsBody(BaseModel):
    """The body of /v1/embeddings.

    input_type says which of the encoder's prefixes is put before each text: "query" (the default: for questions, and
    for comparing like with like) or "passage" (for text that is to be found).
    """

    model_config = ConfigDict(protected_namespaces=())

    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    input_type: Literal["query", "passage"] = "query"

    @property
    def texts(self) -> list[str]:
        """The input as a list. Raises RefusedError where a text is empty."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        if not all(text.strip() for text in texts):
            raise RefusedError(400, "invalid_request", "input: an empty text has no embedding", param="input")
        return texts


class FeedbackBody(BaseModel):
    """The body of /v1/feedback; text: the rewritten answer for `edit`, a citation's number for `citation`."""

    answer_id: str = Field(min_length=1, max_length=200)
    kind: Literal["up", "down", "none", "edit", "regenerate", "copy", "citation", "abandon"]
    text: str = Field(default="", max_length=100_000)


def parse(raw: bytes, body: type[BodyT]) -> BodyT:
    """A request's body. Raises RefusedError with the first thing that is wrong with it."""
    try:
        return body.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error) from None
