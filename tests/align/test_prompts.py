"""Prompts that cannot be read are named by their number before a run begins."""

import logging

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


def asked(**columns):
    return {"prompt": [{"role": "user", "content": "fever"}], **columns}


def policy_with(tokenizer):
    model = tiny_model()
    model.resize_token_embeddings(len(tokenizer))
    return Policy(model, tokenizer)


def test_tools_that_the_template_ignores_are_refused_and_those_of_texts_are_said_once(tokenizer_of, caplog):
    policy = policy_with(tokenizer_of(chat=True))
    rows = [asked(), asked(tools=[{"name": "tea"}])]
    with pytest.raises(HeedError, match=r"the chat template ignores the prompt's tools .prompt 1, column tools."):
        checked_rows(rows, policy, 8)
    checked_rows([asked(tools=None), asked(tools=[])], policy, 8)
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        checked_rows([{"prompt": "fever"}, *[{"prompt": "cough", "tools": ["hammer"]}] * 2], policy, 8)
    assert "2 prompts with tools are texts (prompt 1, ...)" in caplog.text
    checked_rows(rows, policy_with(tokenizer_of(tools=True)), 8)


def test_texts_for_a_model_of_conversations_are_said(tokenizer_of, caplog):
    """They are continued as they stand, which is right for a base model alone."""
    for tokenizer, rows, said in (
        (tokenizer_of(chat=True), ["fever", "gout"], "2 prompts are texts (prompt 0, ...), continued as they stand"),
        (tokenizer_of(chat=True), [asked()], ""),
        (tokenizer_of(), ["fever"], ""),
    ):
        caplog.clear()
        checked_rows(rows, policy_with(tokenizer), 8)
        assert said in caplog.text and bool(said) == bool(caplog.text)


def test_tools_count_among_the_prompts_tokens(tokenizer_of):
    policy = policy_with(tokenizer_of(tools=True))
    tools = [{"name": "tea"}] * policy.context
    with pytest.raises(HeedError, match=f"prompt 0 has {policy.context + 3} tokens"):
        checked_rows([asked(tools=tools)], policy, 1)
