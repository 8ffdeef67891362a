"""Korean hybrid search: Kiwi + bigram BM25 and dense vectors, fused by weighted z-score.

from korean_llm.retrieval import Index
Index.build(documents, folder)
hits = Index.open(folder).search("질문", k=10)
"""

from korean_llm.retrieval.index import Hit, Index, Options

__all__ = ["Hit", "Index", "Options"]
