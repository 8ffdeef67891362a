"""The ways the row of a new token can start: METHODS by name, and `fitted`, which also asks the model.

A way is a function (table_VD, merges, context) → rows_ND in float32. It sees old rows of one table only, so an untied
model's embedding and head each get rows made of their own old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from korean_llm.recipe import Start
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.starts.constituents import (
    first,
    frequency_weighted,
    last,
    late_weighted,
    length_weighted,
    mean,
    mean_noise,
)
from korean_llm.vocabulary.starts.context import StartContext, build_context
from korean_llm.vocabulary.starts.distribution import global_mean, normal
from korean_llm.vocabulary.starts.neighbours import nearest, pursuit

Method = Callable[[torch.Tensor, Sequence[Merge], StartContext], torch.Tensor]

METHODS: dict[Start, Method] = {
    "mean": mean,
    "first": first,
    "last": last,
    "length_weighted": length_weighted,
    "frequency_weighted": frequency_weighted,
    "late_weighted": late_weighted,
    "mean_noise": mean_noise,
    "normal": normal,
    "global_mean": global_mean,
    "nearest": nearest,
    "pursuit": pursuit,
    # The head's rows are then fitted to the model's own hidden states (see fit.py): what it starts from is the mean.
    "fitted": mean,
}

__all__ = ["METHODS", "Method", "Start", "StartContext", "build_context"]
