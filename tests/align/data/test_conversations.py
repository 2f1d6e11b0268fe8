import pytest

from heed.align.data.conversations import judged_ids, prompt_and_completion_ids, prompt_ids, render_prompt
from heed.errors import HeedError

MESSAGES = [{"role": "user", "content": "what helps ?"}]


def words(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(ids)


def test_messages_are_rendered_with_the_assistants_turn_opened(tokenizer_of):
    assert render_prompt(MESSAGES, tokenizer_of(chat=True)) == "<user> what helps ? <assistant> "


def test_only_text_prompts_get_the_tokenizers_special_tokens(tokenizer_of):
    tokenizer = tokenizer_of(chat=True)
    assert words(tokenizer, prompt_ids("what helps ?", tokenizer)) == ["<s>", "what", "helps", "?"]
    assert words(tokenizer, prompt_ids(MESSAGES, tokenizer)) == ["<user>", "what", "helps", "?", "<assistant>"]


def test_a_completion_follows_the_prompts_own_tokens(tokenizer_of):
    tokenizer = tokenizer_of()
    for prompt in ("what helps ?", "what helps ? "):  # joined without the space, "?take" would be unknown
        before, after = prompt_and_completion_ids(prompt, "take tea", tokenizer)
        assert before == prompt_ids(prompt, tokenizer)
        assert words(tokenizer, after) == ["take", "tea"]


def test_an_unknown_last_word_swallows_nothing_of_the_completion(tokenizer_of):
    tokenizer = tokenizer_of()
    _, after = prompt_and_completion_ids("what helps zounds", "take tea", tokenizer)
    assert words(tokenizer, after) == ["take", "tea"]
    assert words(tokenizer, judged_ids("helps zounds", "take tea", tokenizer)) == [
        "<s>",
        "helps",
        "<unk>",
        "take",
        "tea",
    ]


def test_a_judge_with_a_chat_template_reads_the_conversation(tokenizer_of):
    tokenizer = tokenizer_of(chat=True)
    expected = ["<user>", "what", "helps", "?", "<assistant>", "take", "tea"]
    assert words(tokenizer, judged_ids("what helps ?", "take tea", tokenizer)) == expected
    assert words(tokenizer, judged_ids(MESSAGES, [{"role": "assistant", "content": "take tea"}], tokenizer)) == expected


def test_conversations_need_a_chat_template(tokenizer_of):
    for read in (render_prompt, lambda prompt, tokenizer: judged_ids(prompt, "tea", tokenizer)):
        with pytest.raises(HeedError, match=r"no chat template .*: set tokenizer\.chat_template"):
            read(MESSAGES, tokenizer_of())


def test_a_prompt_that_is_neither_text_nor_messages_is_refused(tokenizer_of):
    with pytest.raises(HeedError, match="a prompt is int, neither text nor a list of messages"):
        render_prompt(3, tokenizer_of())
