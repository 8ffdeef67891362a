"""The run's own model: greedy decoding with a cache equals decoding without one."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import pytest
import torch
from peft import LoraConfig, get_peft_model

from korean_llm.answering.answer import Sampling
from korean_llm.answering.writing.fingerprint import model_fingerprint
from korean_llm.answering.writing.local import NO_REPEAT_TOKENS, READ_TOKENS, LocalModel
from korean_llm.answering.writing.places import ModelPlace, find_model
from korean_llm.artifact import write_json
from korean_llm.chat import open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer
from tests.answering.conftest import write_artifact
from tests.conftest import make_model, make_tokenizer

MESSAGES = [{"role": "user", "content": "도서관은 언제 쉬나요?"}]
CPU = Machine("cpu", 1)


def without_cache(local: LocalModel, prompt: list[int]) -> list[int]:
    """The slow reference: read everything again for every token; refuse a token that repeats a long run."""
    said: list[int] = []
    while len(said) < local.max_new_tokens:
        with torch.no_grad():
            order = local.model(input_ids=torch.tensor([prompt + said])).logits[0, -1].argsort(descending=True)
        runs = {tuple(said[at : at + NO_REPEAT_TOKENS]) for at in range(len(said) - NO_REPEAT_TOKENS + 1)}
        token = next(t for t in order.tolist() if tuple([*said, t][-NO_REPEAT_TOKENS:]) not in runs)
        if token in (local.tokenizer.eos_token_id, 2):
            break
        said.append(token)
    return said


@pytest.fixture(scope="module")
def local(run_folder: Path) -> LocalModel:
    place = find_model(run_folder)
    assert place == ModelPlace(run_folder / "base" / "model")
    return LocalModel.open(place, CPU)


def test_greedy_tokens_are_those_of_the_slow_reference(local: LocalModel) -> None:
    prompt = local._encode(MESSAGES)
    assert local.measure(MESSAGES) == len(prompt)
    tokens = list(local._tokens(prompt))
    assert tokens == without_cache(local, prompt)
    assert len(tokens) > 2 * NO_REPEAT_TOKENS, "the small model stopped before the rule could matter"


def test_the_text_is_the_tokens_text_without_broken_characters(local: LocalModel) -> None:
    tokens = list(local._tokens(local._encode(MESSAGES)))
    pieces = list(local.generate(MESSAGES))
    whole = b"".join(local._bytes[token] for token in tokens).decode("utf-8", "ignore")
    assert "".join(pieces) == whole.replace("\ufffd", "")
    assert all("\ufffd" not in piece for piece in pieces)


def test_it_stops_at_an_end_token(run_folder: Path) -> None:
    model, tokenizer = load_model(run_folder / "base" / "model", CPU), load_tokenizer(run_folder / "base" / "model")
    plain = LocalModel(model, open_chat(tokenizer))
    tokens = list(plain._tokens(plain._encode(MESSAGES)))
    model.generation_config.eos_token_id = [tokens[5], 2]
    cut = LocalModel(model, open_chat(tokenizer))
    assert list(cut._tokens(cut._encode(MESSAGES))) == tokens[: tokens.index(tokens[5])]


def test_budget_leaves_room_for_the_answer(local: LocalModel) -> None:
    assert local.budget + local.max_new_tokens <= local.model.config.max_position_embeddings


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_drawn_tokens_are_those_of_transformers(local: LocalModel, top_p: float) -> None:
    prompt = local._encode(MESSAGES)
    asked = Sampling(temperature=0.8, top_p=top_p, seed=5, max_new_tokens=NO_REPEAT_TOKENS)
    torch.manual_seed(5)
    theirs = local.model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=True,
        temperature=0.8,
        top_p=top_p,
        top_k=0,
        max_new_tokens=NO_REPEAT_TOKENS,
        pad_token_id=2,
    )[0, len(prompt) :].tolist()
    torch.manual_seed(99)  # what others do to the global state does not matter
    ours = list(local._tokens(prompt, asked))
    assert ours == [token for token in theirs if token not in local._ends]
    assert ours == list(local._tokens(prompt, asked))
    assert ours != list(local._tokens(prompt, Sampling(0.8, top_p, NO_REPEAT_TOKENS, seed=6)))


def test_a_long_prompt_is_read_in_parts_that_can_be_stopped(local: LocalModel) -> None:
    prompt = (local._encode(MESSAGES) * 12)[: local.context - 40]
    assert len(prompt) > READ_TOKENS
    asked = Sampling(max_new_tokens=12)
    in_parts = list(local._tokens(prompt, asked))
    local._part = local.context
    at_once = list(local._tokens(prompt, asked))
    local._part = READ_TOKENS
    assert in_parts == at_once and len(at_once) > 6


def test_temperature_zero_and_a_tiny_top_p_are_greedy(local: LocalModel) -> None:
    prompt = local._encode(MESSAGES)
    greedy = list(local._tokens(prompt))
    assert list(local._tokens(prompt, Sampling(temperature=1.0, top_p=1e-6))) == greedy


def test_no_more_tokens_than_asked_for_or_than_the_context_holds(local: LocalModel) -> None:
    prompt = local._encode(MESSAGES)
    assert len(list(local._tokens(prompt, Sampling(max_new_tokens=7)))) == 7
    long = (prompt * 12)[: local.context - 30]
    assert len(list(local._tokens(long, Sampling(max_new_tokens=10_000)))) <= 30


def test_it_stops_before_a_stop_string(local: LocalModel) -> None:
    whole = "".join(local.generate(MESSAGES))
    middle = whole[len(whole) // 2 :][:3]
    pieces = list(local.generate(MESSAGES, Sampling(stop=(middle, "없는 말"))))
    assert "".join(pieces) == whole[: whole.index(middle)]


def test_it_ends_within_a_token_when_told_so(local: LocalModel) -> None:
    stop = Event()
    said = []
    for piece in local.generate(MESSAGES, stop=stop):
        said.append(piece)
        if len(said) == 3:
            stop.set()
    assert len(said) <= 4  # what was held back may come as a last piece
    assert "".join(local.generate(MESSAGES, stop=stop)) == ""


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Sampling(temperature=-1), "temperature -1 is not accepted; expected a number from 0"),
        (Sampling(temperature=float("nan")), "temperature nan"),
        (Sampling(top_p=0), "top_p 0 is not accepted"),
        (Sampling(max_new_tokens=-3), "max_new_tokens -3"),
        (Sampling(seed=-1), "seed -1"),
    ],
)
def test_settings_that_mean_nothing(local: LocalModel, asked: Sampling, words: str) -> None:
    with pytest.raises(KoreanLLMError, match=words):
        list(local.generate(MESSAGES, asked))


def test_four_bits_need_a_gpu(run_folder: Path) -> None:
    with pytest.raises(KoreanLLMError, match="--four-bit needs a GPU"):
        LocalModel.open(ModelPlace(run_folder / "base" / "model"), Machine("cpu", 1, four_bit=True))


def test_a_fingerprint_is_of_the_weights_and_of_how_they_are_held(own_run: Path, tmp_path: Path) -> None:
    inside = own_run / "base" / "model"
    assert model_fingerprint(inside) == model_fingerprint(inside) != model_fingerprint(inside, four_bit=True)
    alone = inside.rename(tmp_path / "alone")
    before = model_fingerprint(alone)
    weights = alone / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert model_fingerprint(alone) != before


@pytest.fixture
def tuned_run(own_run: Path) -> Path:
    """The run with an adapter that changes what the model says."""

    def instruction(out: Path) -> None:
        folder = own_run / "base" / "model"
        tokenizer = load_tokenizer(folder)
        chat = open_chat(tokenizer)
        torch.manual_seed(1)
        config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
        adapted = get_peft_model(load_model(folder, CPU), config)
        adapted.peft_config["default"].base_model_name_or_path = "../../base/model"
        adapted.save_pretrained(out / "adapter")
        tokenizer.save_pretrained(out / "adapter")
        write_json(out / "adapter" / "template.json", chat.describe())

    write_artifact(own_run, "instruction", instruction)
    return own_run


def test_an_adapter_is_loaded_with_its_base(tuned_run: Path) -> None:
    place = find_model(tuned_run)
    assert place is not None and place.adapter == tuned_run / "instruction" / "adapter"
    base = LocalModel.open(ModelPlace(place.model), CPU)
    tuned = LocalModel.open(place, CPU)
    assert "".join(tuned.generate(MESSAGES)) != "".join(base.generate(MESSAGES))
    assert tuned.fingerprint == base.fingerprint and len(tuned.adapter_fingerprint) == 64
    assert base.adapter_fingerprint == "" and tuned.name.endswith("adapter")


def test_an_adapter_of_another_template_is_refused(tuned_run: Path) -> None:
    path = tuned_run / "instruction" / "adapter" / "template.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**kept, "sha256": "0" * 64}), encoding="utf-8")
    place = find_model(tuned_run)
    assert place is not None
    with pytest.raises(KoreanLLMError, match="renders otherwise"):
        LocalModel.open(place, CPU)


def test_the_exported_model_comes_first(tuned_run: Path) -> None:
    def export(out: Path) -> None:
        tokenizer = make_tokenizer()
        make_model(len(tokenizer)).save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")

    write_artifact(tuned_run, "export", export)
    assert find_model(tuned_run) == ModelPlace(tuned_run / "export" / "model")
