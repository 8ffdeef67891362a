"""The recipe language: what a run learns from, what it trains, what it publishes, in one strict file."""

from korean_llm.recipe.answering import AnsweringSettings
from korean_llm.recipe.corpus import CleanSettings, CorpusSettings
from korean_llm.recipe.fields import Origins, WheelFile, parse_count
from korean_llm.recipe.instruction import InstructionSettings
from korean_llm.recipe.preference import PreferenceSettings, RewardSettings
from korean_llm.recipe.pretraining import (
    LoraSettings,
    MergeBack,
    Phase,
    PretrainingSettings,
    Retention,
    Slowing,
    TrainableGroup,
    layer_numbers,
)
from korean_llm.recipe.retrieval import RetrievalSettings
from korean_llm.recipe.sampling import OnlineSettings, RejectionSamplingSettings, Sampling
from korean_llm.recipe.serving import EvaluationSettings, ExportSettings
from korean_llm.recipe.tuning import Tuning
from korean_llm.recipe.vocabulary import Start, VocabularySettings
from korean_llm.recipe.whole import SECTIONS, Recipe, load_recipe

__all__ = [
    "SECTIONS",
    "AnsweringSettings",
    "CleanSettings",
    "CorpusSettings",
    "EvaluationSettings",
    "ExportSettings",
    "InstructionSettings",
    "LoraSettings",
    "MergeBack",
    "OnlineSettings",
    "Origins",
    "Phase",
    "PreferenceSettings",
    "PretrainingSettings",
    "Recipe",
    "RejectionSamplingSettings",
    "Retention",
    "RetrievalSettings",
    "RewardSettings",
    "Sampling",
    "Slowing",
    "Start",
    "TrainableGroup",
    "Tuning",
    "VocabularySettings",
    "WheelFile",
    "layer_numbers",
    "load_recipe",
    "parse_count",
]
