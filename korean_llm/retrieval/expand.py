"""What a language model adds to a question: a made-up answer to look for (HyDE), or the question in other words.

HyDE: Gao et al. 2023, arXiv 2212.10496: the question's vector is averaged with those of passages that might answer it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from korean_llm.errors import KoreanLLMError

Expansion = Literal["none", "hyde", "multi-query"]

_PASSAGE = "다음 질문에 답하는 글을 한 문단으로 쓰세요. 질문을 되풀이하지 말고 글만 쓰세요.\n\n질문: {}"
_QUESTIONS = (
    "다음 질문을 뜻은 같고 낱말은 다른 질문 {} 개로 바꾸어 한 줄에 하나씩 쓰세요. 다른 말은 쓰지 마세요.\n\n질문: {}"
)
_ASK = "다음 글을 읽어야 답할 수 있는 짧은 질문을 하나만 쓰세요. 글의 표현을 그대로 옮기지 마세요.\n\n글: {}"
_NUM_QUESTIONS = 3
_MAX_TOKENS = 300


class LanguageModel:
    """An OpenAI-compatible server; answers are kept, so that a question costs one request each."""

    def __init__(self, endpoint: str, model: str) -> None:
        from openai import OpenAI

        self.endpoint, self.model = endpoint, model
        self._client = OpenAI(base_url=endpoint, api_key="none", max_retries=1, timeout=60)
        self._known: dict[str, str] = {}

    def passages(self, question: str) -> list[str]:
        """A passage that might answer the question."""
        return [self._say(_PASSAGE.format(question))]

    def questions(self, question: str) -> list[str]:
        """The question in up to three other wordings."""
        lines = self._say(_QUESTIONS.format(_NUM_QUESTIONS, question)).splitlines()
        return [line.lstrip("0123456789.-) ").strip() for line in lines if line.strip()][:_NUM_QUESTIONS]

    def ask(self, passage: str) -> str:
        """A question that the passage answers."""
        return self._say(_ASK.format(passage)).strip().split("\n")[0]

    def _say(self, prompt: str) -> str:
        from openai import OpenAIError

        if prompt not in self._known:
            try:
                reply = self._client.chat.completions.create(
                    model=self.model,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=_MAX_TOKENS,
                    temperature=0,
                )
            except OpenAIError as error:
                reason = " ".join(str(error).split())[:120]
                raise KoreanLLMError(
                    f"the language model at {self.endpoint} does not answer ({reason}); start it, or switch the"
                    " expansion off."
                ) from None
            self._known[prompt] = reply.choices[0].message.content or ""
        return self._known[prompt]


@lru_cache(maxsize=2)
def language_model(endpoint: str | None, model: str | None) -> LanguageModel:
    """The model of an endpoint. Raises KoreanLLMError where there is none."""
    if not endpoint:
        raise KoreanLLMError("HyDE and multi-query need a language model; give its address with --endpoint URL.")
    return LanguageModel(endpoint, model or "default")
