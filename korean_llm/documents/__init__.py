"""Documents of offices and the web as text with exact spans, and their passages.

from korean_llm.documents import find_files, read_files, split
for document in read_files(find_files(Path("문서")).files):
    passages = split(document, passage_chars=400)
"""

from korean_llm.documents.document import Block, Document, Page
from korean_llm.documents.folder import Found, find_files
from korean_llm.documents.kinds import Kind, check_name, sniff
from korean_llm.documents.passages import Passage, Section, split
from korean_llm.documents.read import Problem, read_files

__all__ = [
    "Block",
    "Document",
    "Found",
    "Kind",
    "Page",
    "Passage",
    "Problem",
    "Section",
    "check_name",
    "find_files",
    "read_files",
    "sniff",
    "split",
]
