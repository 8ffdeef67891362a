"""The chat template: what is rendered, what is learned, and how it is known again."""

from __future__ import annotations

import copy

import pytest

from korean_llm.chat import PLAIN_TEMPLATE, open_chat
from korean_llm.errors import KoreanLLMError
from tests.conftest import CHATML, make_tokenizer

TALK = [
    {"role": "user", "content": "몇 시에 닫나요?"},
    {"role": "assistant", "content": "여섯 시에 닫습니다."},
    {"role": "user", "content": "고마워요."},
    {"role": "assistant", "content": "천만에요."},
]
WITH_SYSTEM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou don\\'t guess.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize("template", [CHATML, WITH_SYSTEM, None], ids=["chatml", "default-system", "none"])
def test_only_answers_are_learned_and_each_ends_with_eos(template: str | None) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    chat = open_chat(tokenizer)
    ids, mask = chat.encode(TALK)
    spoken = tokenizer.decode([token for token, own in zip(ids, mask, strict=True) if own])
    assert spoken == "여섯 시에 닫습니다.<|im_end|>천만에요.<|im_end|>"
    assert tokenizer.decode(ids) == chat.render(TALK)


def test_served_and_training_templates_render_alike() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = WITH_SYSTEM
    chat = open_chat(tokenizer)
    assert tokenizer.chat_template == WITH_SYSTEM
    rendered = tokenizer.apply_chat_template(TALK, chat_template=chat.training_template, tokenize=False)
    assert rendered == chat.render(TALK)
    assert "You don't guess." in rendered


def test_the_hash_follows_what_is_rendered_not_how_it_is_written() -> None:
    one, same, other = make_tokenizer(), make_tokenizer(), make_tokenizer()
    same.chat_template = CHATML.replace("{% endfor %}", "{# a remark #}{% endfor %}")
    other.chat_template = CHATML.replace("<|im_end|>", "<|im_end|> ")
    hashes = [open_chat(tokenizer).sha256 for tokenizer in (one, same)]
    assert hashes[0] == hashes[1]
    other.chat_template = PLAIN_TEMPLATE
    assert open_chat(other).sha256 != hashes[0]


def test_an_answer_is_prompted_where_it_begins() -> None:
    chat = open_chat(make_tokenizer())
    assert chat.render(TALK[:1], answer=True).endswith("<|im_start|>assistant\n")
    assert chat.render(TALK[:2]).startswith(chat.render(TALK[:1], answer=True))


def test_a_template_that_marks_nothing_is_refused() -> None:
    tokenizer = copy.deepcopy(make_tokenizer())
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(KoreanLLMError, match="generation"):
        open_chat(tokenizer)
