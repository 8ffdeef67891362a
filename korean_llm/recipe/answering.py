"""Section `answering`: what a model is shown when it answers from the run's documents. No stage reads it."""

from __future__ import annotations

from pydantic import Field

from korean_llm.settings import Strict


class AnsweringSettings(Strict):
    """What a model is shown before a question, in the demo, the server and `korean-llm ask`."""

    examples: list[str] = Field(default=[], description="Corpora of questions to show answered, by name or path.")
    num_examples: int = Field(default=2, ge=0, le=8, description="Examples shown as earlier turns of the conversation.")
    passages: int = Field(default=4, ge=1, le=16, description="Passages shown at most, as far as they fit.")
