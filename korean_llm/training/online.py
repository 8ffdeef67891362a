"""Stage `online`: GRPO by TRL. The model answers, the reward model scores, and better answers become likelier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed
from trl import GRPOConfig, GRPOTrainer

from korean_llm import console
from korean_llm.chat import Chat, Message
from korean_llm.machine import Machine
from korean_llm.recipe import OnlineSettings
from korean_llm.training import tuning
from korean_llm.training.checkpoints import WholeCheckpoints
from korean_llm.training.examples import Prompt, read_prompts
from korean_llm.training.judge import Judge
from korean_llm.training.loop import micro_batch
from korean_llm.training.sampling import answered, draw
from korean_llm.training.split import split

_MAX_HOLDOUT = 64


class WholeGRPOTrainer(WholeCheckpoints, GRPOTrainer):
    """TRL's trainer, with checkpoints that are whole."""


def run(settings: OnlineSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int) -> dict[str, Any]:
    """Tune the adapter of inputs["adapter"], or a new one, by the reward model's scores; write out/adapter.

    inputs: "model", "reward" and, where there is one, "adapter". Raises KoreanLLMError where a row does not fit.
    """
    set_seed(seed)
    prompts = read_prompts(settings.data, settings.max_prompts)
    chat = tuning.open_tokenizer(inputs)
    examples = split(prompts, chat, settings.max_prompt_tokens, "online")
    judge = Judge.open(inputs["model"] / "model", inputs["reward"] / "adapter", machine)
    model, peft_config = tuning.open_policy(inputs, settings.lora, settings.quantized_base, machine)
    trainer = WholeGRPOTrainer(
        model=model,
        reward_funcs=scorer(judge),
        args=_arguments(settings, out, machine, seed),
        train_dataset=Dataset.from_list([{"prompt": prompt.messages} for prompt in examples.train]),
        processing_class=chat.tokenizer,
        peft_config=peft_config,
        callbacks=tuning.callbacks(out, "online"),
    )
    holdout = examples.holdout[:_MAX_HOLDOUT]
    before = mean_score(trainer.model, chat, judge, holdout, settings, seed)
    steps = tuning.train(trainer, out)
    after = mean_score(trainer.model, chat, judge, holdout, settings, seed)
    console.log_metrics(out, phase="after", holdout_score_before=before, holdout_score_after=after)
    tuned: Any = trainer.model
    tuning.save_adapter(tuned, chat, inputs["model"], out)
    tuning.finish(out, examples.too_long)
    return {
        "counts": {
            "prompts": len(examples.train),
            "held_out": len(holdout),
            "too_long": len(examples.too_long),
            "steps": steps,
        },
        "metrics": {"holdout_score_before": before, "holdout_score_after": after},
    }


def scorer(judge: Judge) -> Any:
    """The judge as TRL calls it."""

    def reward(prompts: list[list[Message]], completions: list[list[Message]], **_: Any) -> list[float]:
        """Scores of conversations; an empty answer has no template to be rendered in, and a space stands for it."""
        said = [completion[0]["content"] or " " for completion in completions]
        return judge.score([answered(prompt, text) for prompt, text in zip(prompts, said, strict=True)])

    return reward


def mean_score(
    model: Any, chat: Chat, judge: Judge, prompts: list[Prompt], settings: OnlineSettings, seed: int
) -> float:
    """The mean score of the model's answers to held-out prompts, the same draws before and after."""
    model.eval()
    scores: list[float] = []
    for prompt in console.progress(prompts, "online: held-out answers", len(prompts)):
        said = draw(model, chat, prompt, settings, seed)
        scores += judge.score([answered(prompt.messages, answer.text or " ") for answer in said])
    model.train()
    return round(sum(scores) / len(scores), 4)


def _arguments(settings: OnlineSettings, out: Path, machine: Machine, seed: int) -> GRPOConfig:
    batch = settings.batch_prompts * settings.answers
    shared = tuning.arguments(
        out,
        machine,
        seed,
        micro=micro_batch(batch, min(settings.max_prompt_tokens + settings.max_answer_tokens, 512), machine),
        batch=batch,
        learning_rate=settings.learning_rate,
        checkpoint_every=settings.checkpoint_every_steps,
    )
    return GRPOConfig(
        **shared,
        max_steps=settings.steps,
        num_generations=settings.answers,
        max_completion_length=settings.max_answer_tokens,
        temperature=settings.temperature,
        beta=settings.beta,
        mask_truncated_completions=True,  # a cut answer, judged as if it had ended, would teach never to end
    )
