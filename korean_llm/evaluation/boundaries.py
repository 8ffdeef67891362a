"""Where a tokenizer cuts a sentence, in characters that people can read."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Piece:
    """A stretch of a sentence and the number of tokens that it takes.

    One token: the cut falls between characters. More: the tokens are parts of characters (single bytes of a
    syllable, say), and this is the shortest stretch that they make up together.
    """

    text: str
    tokens: int


def pieces(tokenizer: PreTrainedTokenizerBase, sentence: str) -> list[Piece]:
    """Cut a sentence as the tokenizer does. The texts joined are the sentence; the tokens add up to its tokens."""
    encoded = tokenizer(sentence, add_special_tokens=False, return_offsets_mapping=True)
    spans: list[list[int]] = []  # end of the stretch, tokens in it
    waiting = 0
    for start, end in encoded["offset_mapping"]:
        waiting += 1
        if spans and start < spans[-1][0]:  # shares a character with the token before
            spans[-1] = [max(end, spans[-1][0]), spans[-1][1] + waiting]
        elif end > start:
            spans.append([end, waiting])
        else:  # a token without text of its own belongs to what comes next
            continue
        waiting = 0
    return _cut(sentence, spans, waiting)


def _cut(sentence: str, spans: list[list[int]], left_over: int) -> list[Piece]:
    """Texts between the ends; what a tokenizer drops at the very end stays with the last piece."""
    if not spans:
        return [Piece(sentence, left_over)] if sentence else []
    spans[-1] = [len(sentence), spans[-1][1] + left_over]
    starts = [0, *(end for end, _ in spans)]
    return [Piece(sentence[start:end], tokens) for start, (end, tokens) in zip(starts, spans, strict=False)]
