"""An OpenAI-compatible server over a run: chat answers with citations, embeddings, health, feedback.

Well-known engines run the language model where they can (vLLM, llama.cpp); this room joins retrieval and answers to
them, keeps strangers out, and says "busy" before it breaks.
"""
