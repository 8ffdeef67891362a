"""The recipe language: every error of a file at once, with its path, the value, and the nearest key."""

from __future__ import annotations

from pathlib import Path

import pytest

from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import SECTIONS, Recipe, load_recipe, parse_count
from korean_llm.settings import read_yaml

HEAD = "name: small\nbase: org/model\n"
CORPUS = "corpus: {sources: {prose-ko: 1}}\n"
PHASES = "pretraining: {phases: [{train: [lora], tokens: 1.9B, learning_rate: 4e-5}]}\n"


def load(folder: Path, text: str | bytes) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_recipe(path)


def errors(folder: Path, text: str | bytes) -> list[str]:
    """The lines of the error, without the file's own path."""
    with pytest.raises(KoreanLLMError) as caught:
        load(folder, text)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(str(folder / "recipe.yaml"))
    return [first.removeprefix(str(folder / "recipe.yaml")).lstrip(": "), *(line.strip() for line in rest)]


def test_all_errors_of_a_file_come_at_once(tmp_path: Path) -> None:
    text = (
        "name: Small\nbase: {hubb: x}\nseed: -1\nvocabulry: {}\n"
        "corpus: {sources: {}, clen: {}, holdout: 2}\n"
        "pretraining: {phases: [{train: [lora, nothing], tokens: 1.9Q, learning_rate: 4e-5}, {train: [lora]}]}\n"
    )
    count, *lines = errors(tmp_path, text)
    assert count == f"{len(lines)} errors"
    assert sorted(lines) == sorted(
        [
            "name: 'Small' is not accepted; expected text that matches ^[a-z0-9][a-z0-9._-]*$",
            "base.hubb: unknown key; did you mean 'hub'?",
            "seed: -1 is not accepted; expected greater than or equal to 0",
            "vocabulry: unknown key; did you mean 'vocabulary'?",
            "corpus.sources: expected at least 1 in it",
            "corpus.clen: unknown key; did you mean 'clean'?",
            "corpus.holdout: 2 is not accepted; expected less than or equal to 1",
            "pretraining.phases.0.train.1: 'nothing' is not accepted; expected one of new_input_rows,"
            " new_output_rows, input_rows, output_rows, lora, all, or layers: [0, 1], or layers: all",
            "pretraining.phases.0.tokens: '1.9Q' is not accepted; expected a count such as 4096, 16_000, 100M or 1.9B",
            "pretraining.phases.1.tokens: missing; this key is required",
            "pretraining.phases.1.learning_rate: missing; this key is required",
        ]
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("retrieval: {documents: [a], encoder: {wheel: {versoin: '1'}}}", "retrieval.encoder.wheel.versoin: unknown"),
        ("corpus: {sources: {a: 1}, clean: {min_char: 3}}", "corpus.clean.min_char: unknown key; did you mean 'min_ch"),
        ("export: {zzz: 1}", "export.zzz: unknown key; known keys: formats, max_bits_per_byte_loss"),
        ("export: {formats: [gguf]}", "export.formats.0: 'gguf' is not accepted; expected 'safetensors', 'gguf-q8_0'"),
        ("corpus: {sources: {a: .inf}}", "corpus.sources.a: inf is not accepted; expected a finite number"),
        ("corpus: {sources: {a: .nan}}", "corpus.sources.a: nan is not accepted"),
        ("corpus: {sources: {a: 0}}", "corpus.sources.a: 0 is not accepted; expected greater than 0"),
        ("corpus: {sources: [a]}", "corpus.sources: ['a'] is not accepted; expected a mapping of keys"),
        ("vocabulary: {new_tokens: true}\n" + CORPUS, "vocabulary.new_tokens: True is not accepted"),
        ("vocabulary: {new_tokens: 2, min_count: '2'}\n" + CORPUS, "vocabulary.min_count: '2' is not accepted"),
        ("seed: 4294967296", "seed: 4294967296 is not accepted; expected less than 4294967296"),
        ("1: 2", "1: 1 is not accepted; expected a key that is text"),
        ("seed: " + "[1, " * 60 + "2" + "]" * 60, "…"),
    ],
)
def test_an_error_names_path_value_and_what_was_expected(tmp_path: Path, text: str, line: str) -> None:
    found = errors(tmp_path, HEAD + text + "\n")[1:]
    assert any(line in one for one in found), found
    assert max(map(len, found)) < 250


@pytest.mark.parametrize("section", SECTIONS)
def test_an_empty_section_is_not_taken_for_its_absence(tmp_path: Path, section: str) -> None:
    lines = errors(tmp_path, f"{HEAD}{section}:\n")
    assert lines[0] == "1 error"
    assert lines[1].startswith(f"{section}: empty; write `{section}: {{}}`")


def test_sections_that_need_others(tmp_path: Path) -> None:
    lines = errors(tmp_path, f"{HEAD}vocabulary: {{new_tokens: 10, min_cuont: 2}}\n{PHASES}")
    assert [line.split(";")[0] for line in lines[1:]] == [
        "vocabulary.min_cuont: unknown key",
        "vocabulary: expected a section 'corpus' as well: vocabulary learns from it",
        "pretraining: expected a section 'corpus' as well: pretraining learns from it",
    ]
    new_rows = PHASES.replace("[lora]", "[lora, new_output_rows, new_input_rows]")
    assert "train new_input_rows, new_output_rows" in errors(tmp_path, HEAD + CORPUS + new_rows)[1]
    assert load(tmp_path, HEAD + CORPUS + new_rows + "vocabulary: {new_tokens: 10}\n").vocabulary


def test_a_4_bit_base_trains_what_can_train(tmp_path: Path) -> None:
    text = HEAD + CORPUS + PHASES.replace("{phases", "{quantized_base: true, phases")
    assert load(tmp_path, text)
    assert "where all cannot train" in errors(tmp_path, text.replace("[lora]", "[lora, all]"))[1]


@pytest.mark.parametrize(
    ("written", "count"),
    [("4096", 4096), ("16_000", 16_000), ("100M", 100_000_000), ("1.9B", 1_900_000_000), ("64k", 64_000), (7, 7)],
)
def test_counts(written: str | int, count: int) -> None:
    assert parse_count(written) == count


@pytest.mark.parametrize("written", ["", "B", "1.9Q", "-5", "1e6", "1.5.2M", "0x10", "many", "１２"])
def test_what_is_no_count(written: str) -> None:
    with pytest.raises(ValueError, match="expected a count"):
        parse_count(written)


@pytest.mark.parametrize(
    ("written", "value"), [("4e-5", 4e-5), ("4.0e-5", 4e-5), ("2E+3", 2000.0), ("1_0e1", 100.0), ("3", 3.0)]
)
def test_learning_rates_as_people_write_them(tmp_path: Path, written: str, value: float) -> None:
    recipe = load(tmp_path, HEAD + CORPUS + PHASES.replace("4e-5", written))
    assert recipe.pretraining is not None
    assert recipe.pretraining.phases[0].learning_rate == value
    assert recipe.pretraining.phases[0].tokens == 1_900_000_000


@pytest.mark.parametrize(
    ("base", "hub", "revision", "folder"),
    [
        ("org/model", "org/model", "main", None),
        ("org/model@abc", "org/model", "abc", None),
        ("./model", None, "main", "./model"),
        ("~/model", None, "main", "~/model"),
        ("{hub: org/model, revision: abc}", "org/model", "abc", None),
    ],
)
def test_the_base_as_text_or_keys(tmp_path: Path, base: str, hub: str | None, revision: str, folder: str) -> None:
    found = load(tmp_path, f"name: small\nbase: {base}\n").base
    assert (found.hub, found.revision, found.folder) == (hub, revision, folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "seed: 1\nseed: 2\n", "key 'seed' stands twice in the block that begins on line 1"),
        (HEAD + "corpus:\n  sources: {a: 1, a: 2}\n", "key 'a' stands twice in the block that begins on line 4"),
        ("name: [\n", "is not valid YAML"),
        ("name: 2024-13-45\n", "is not valid YAML: month must be in 1..12"),
        ("name: " + "[" * 5000, "is not valid YAML"),
        ("name: !!python/object:os.system x\n", "is not valid YAML: could not determine a constructor"),
        ("", "expected a mapping of keys (name, base, seed, corpus, vocabulary"),
        ("- name\n", "found list"),
        (HEAD.encode() + "# 한국어\n".encode("cp949"), "is not UTF-8 (byte 30); save it as UTF-8"),
    ],
)
def test_what_is_no_recipe_at_all(tmp_path: Path, text: str | bytes, words: str) -> None:
    (line,) = errors(tmp_path, text)
    assert words in line


def test_a_mark_before_utf_8_is_no_error(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + HEAD.encode()).name == "small"


def test_a_missing_file_names_what_is_there(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml", "c.txt"):
        (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=r"none\.yaml does not exist; here is: a\.yaml, b\.yml\."):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(KoreanLLMError, match="does not exist; here is: no YAML file"):
        read_yaml(tmp_path / "nowhere" / "none.yaml")
    with pytest.raises(KoreanLLMError, match="does not exist"):
        read_yaml(tmp_path / "c.txt" / "none.yaml")
    with pytest.raises(KoreanLLMError, match="is a folder; expected a YAML file"):
        read_yaml(tmp_path)
    with pytest.raises(KoreanLLMError, match="cannot be read: File name too long"):
        read_yaml(tmp_path / ("x" * 300))


def test_sections_are_the_fields_of_a_recipe() -> None:
    assert tuple(Recipe.model_fields) == ("name", "base", "seed", *SECTIONS, "answering")


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ("online: {data: [a]}\n", "online: expected a section 'reward' as well: its model judges the answers"),
        ("rejection_sampling: {data: [a]}\n", "rejection_sampling: expected a section 'reward' as well"),
        ("instruction: {method: prefix, data: [a]}\nexport: {}\n", "export: does not fit instruction.method prefix"),
        (
            "instruction: {method: prompt, data: [a]}\npreference: {data: [b]}\n",
            "preference: does not fit instruction.method prompt, whose virtual tokens fold into no weights; expected"
            " lora, dora, qlora, head or full there",
        ),
        ("preference: {data: [b], batch_examples: 1}\n", "preference.batch_examples: 1"),
        ("instruction: {method: loar, data: [a]}\n", "instruction.method: 'loar'"),
        ("rejection_sampling: {data: [a], answers: 1}\nreward: {data: [b]}\n", "rejection_sampling.answers: 1"),
    ],
)
def test_tuning_sections_that_do_not_fit(tmp_path: Path, sections: str, words: str) -> None:
    count, line = errors(tmp_path, HEAD + sections)
    assert "1 error" in count and words in line


def test_tuning_sections_that_fit(tmp_path: Path) -> None:
    found = load(tmp_path, HEAD + "instruction: {method: prefix, data: [a]}\nreward: {data: [b]}\n")
    assert found.instruction is not None and found.instruction.writes == "adapter" and found.instruction.packing
    assert load(tmp_path, HEAD + "instruction: {method: full, data: [a]}\nexport: {}\n").instruction.writes == "model"
