"""Answers from a run's documents, with citations that resolve to exact text.

from korean_llm.answering.library import open_answerer
answer = open_answerer(Path("runs/quickstart"), "extractive", Machine()).answer("질문")
"""
