"""korean-llm: make an open LLM good at Korean on one GPU box, and put it to work."""

__version__ = "0.1.0"
