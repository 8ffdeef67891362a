"""The routes: chat, embeddings, models, feedback, health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Event

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from korean_llm.answering.answer import Piece
from korean_llm.answering.feedback import Feedback
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.encoder import Encoder
from korean_llm.serving import reply
from korean_llm.serving.limits import Gate
from korean_llm.serving.refusal import RefusedError, busy
from korean_llm.serving.schema import BodyT, ChatBody, EmbeddingsBody, FeedbackBody
from korean_llm.serving.shield import HEALTH, LOG
from korean_llm.serving.speak import Asked, End, Speaker, told, vectors
from korean_llm.serving.wire import GONE, Events, read_body, watch_client
from korean_llm.serving.work import Work


@dataclass
class Encoding:
    """The index's encoder as a model of the server."""

    id: str
    encoder: Encoder
    gate: Gate


@dataclass
class Service:
    """All that the routes answer with.

    Attributes:
        alive: whether the engine behind the generative models still runs.
        stopping: set once the server has been asked to stop.
    """

    speakers: list[Speaker]
    encoding: Encoding | None
    feedback: Feedback | None
    work: Work
    alive: Callable[[], bool] = lambda: True
    stopping: bool = False
    started: int = field(default_factory=lambda: int(time.time()))

    @property
    def ids(self) -> list[str]:
        """The models on offer."""
        return [speaker.id for speaker in self.speakers] + ([self.encoding.id] if self.encoding else [])

    def stop(self) -> None:
        """Take no more requests: the lines before the gates are sent away, who is inside may finish."""
        self.stopping = True
        for gate in [speaker.gate for speaker in self.speakers] + ([self.encoding.gate] if self.encoding else []):
            gate.close()


def application(service: Service) -> Starlette:
    """The routes over a service; nothing in a path is ever a file's name."""
    routes = [
        Route(HEALTH, partial(_health, service), methods=["GET"]),
        Route("/v1/models", partial(_models, service), methods=["GET"]),
        Route("/v1/chat/completions", partial(_chat, service), methods=["POST"]),
        Route("/v1/embeddings", partial(_embeddings, service), methods=["POST"]),
        Route("/v1/feedback", partial(_feedback, service), methods=["POST"]),
    ]
    refusals = {HTTPException: _no_route, RefusedError: _refused, Exception: _failed}
    return Starlette(routes=routes, exception_handlers=refusals)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.response()


async def _failed(_: Request, error: Exception) -> Response:
    return RefusedError(500, "internal_error", "the server failed on this request").response()


async def _no_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return RefusedError(
        status, "not_found" if status == 404 else "not_allowed", "there is no such route here"
    ).response()


async def _health(service: Service, _: Request) -> Response:
    ready = not service.stopping and bool(service.alive())
    return JSONResponse({"live": True, "ready": ready}, 200 if ready else 503)


async def _models(service: Service, _: Request) -> Response:
    return JSONResponse({"object": "list", "data": reply.models(service.ids, service.started)})


async def _chat(service: Service, request: Request) -> Response:
    body = await _taken(service, request, ChatBody)
    speaker = next((speaker for speaker in service.speakers if speaker.id == body.model), None)
    if speaker is None:
        raise _unknown(service)
    asked, stop = Asked(body.conversation, body.request, body.user), Event()
    items = service.work.items(speaker.gate, partial(speaker.speak, asked), stop)
    watch_client(request, stop)
    answer = reply.Reply(body.model)
    if not body.stream:
        said = [item async for item in _told(items)]
        pieces, ends = [i for i in said if isinstance(i, Piece)], [i for i in said if isinstance(i, End)]
        return JSONResponse(answer.whole(pieces, ends[0])) if ends else Response(status_code=GONE)
    # The first item comes before the status, so that a refusal can still be one.
    first = await anext(understood := _told(items), None)
    if first is None:
        return Response(status_code=GONE)
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    return Events(_events(answer, first, understood, with_usage))


async def _events(
    answer: reply.Reply, first: Piece | End, rest: AsyncIterator[Piece | End], with_usage: bool
) -> AsyncIterator[bytes]:
    """The events of a stream; a failure on the way becomes an error event, and the stream ends without [DONE]."""
    yield reply.event(answer.opening())
    item: Piece | End | None = first
    try:
        while item is not None:
            if isinstance(item, Piece):
                yield reply.event(answer.chunk(item))
            else:
                yield reply.event(answer.closing(item))
                if with_usage:
                    yield reply.event(answer.usage_chunk(item))
            item = await anext(rest, None)
    except RefusedError as refusal:
        yield reply.event(refusal.body)
        return
    yield reply.DONE


async def _told(items: AsyncIterator[Piece | End]) -> AsyncIterator[Piece | End]:
    """The items; what goes wrong in an engine is logged, and told to the client without addresses of ours.

    An engine's failure has a cause of its own, such as a refused connection; what has none was said by this project
    about the question, for instance that it does not fit the model.
    """
    try:
        async for item in items:
            yield item
    except KoreanLLMError as error:
        if error.__context__ is None:
            raise RefusedError(400, "invalid_question", str(error), param="messages") from None
        LOG.error("%s", error)
        raise RefusedError(
            502, "engine_failed", "the language model behind this server failed", retry_after_s=5
        ) from None


async def _embeddings(service: Service, request: Request) -> Response:
    body = await _taken(service, request, EmbeddingsBody)
    encoding = service.encoding
    if encoding is None or encoding.id != body.model:
        raise _unknown(service)
    if body.dimensions not in (None, encoding.encoder.width):
        message = f"dimensions: this encoder has {encoding.encoder.width}"
        raise RefusedError(400, "invalid_request", message, param="dimensions")
    texts, stop = body.texts, Event()
    watch_client(request, stop)
    work = partial(vectors, encoding.encoder, texts, body.input_type)
    found = [batch async for batch in service.work.items(encoding.gate, work, stop)]
    if sum(len(batch.vectors_MD) for batch in found) < len(texts):
        raise RefusedError(504, "timeout", "the texts took too long; send fewer at a time")
    return JSONResponse(reply.embeddings(body.model, found, body.encoding_format == "base64"))


async def _feedback(service: Service, request: Request) -> Response:
    body = await _taken(service, request, FeedbackBody)
    if service.feedback is None:
        raise RefusedError(404, "not_kept", "this server keeps no feedback")
    await asyncio.to_thread(told, service.feedback, body.answer_id, body.kind, body.text)
    return JSONResponse({"object": "feedback", "answer_id": body.answer_id, "kind": body.kind})


def _unknown(service: Service) -> RefusedError:
    known = ", ".join(service.ids)
    return RefusedError(404, "model_not_found", f"there is no such model here; there are: {known}", param="model")


async def _taken(service: Service, request: Request, body: type[BodyT]) -> BodyT:
    """The body of a request that is taken on."""
    if service.stopping:
        raise busy("the server is stopping")
    return await read_body(request, body)
