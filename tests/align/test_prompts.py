"""Prompts that cannot be read are named by their number before a run begins."""

import pytest
from tiny_policies import tiny_model

from heed.align.models.policy import Policy
from heed.align.prompts import checked_rows
from heed.errors import HeedError


def test_a_token_that_the_model_does_not_know_is_named_with_its_prompt(tokenizer_of):
    tokenizer, model = tokenizer_of(), tiny_model()
    model.resize_token_embeddings(len(tokenizer))
    tokenizer.add_tokens(["zounds"])
    with pytest.raises(HeedError, match=r"no embedding for the token 'zounds' .20.: it has 20 .prompt 1."):
        checked_rows(["fever", "zounds"], Policy(model, tokenizer), 8)


def test_a_prompt_that_the_template_refuses_is_named(tokenizer_of):
    tokenizer = tokenizer_of()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{{ m.content }}{% endfor %}"
    )
    model = tiny_model()
    model.resize_token_embeddings(len(tokenizer))
    prompts = [[{"role": role, "content": "fever"}] for role in ("user", "user", "system")]
    with pytest.raises(HeedError, match=r"System role not supported .prompt 2, ") as caught:
        checked_rows(prompts, Policy(model, tokenizer), 8)
    assert "\n" not in str(caught.value)
