import pytest
from transformers import AutoTokenizer

from heed.align.data.conversations import (
    end_of_reply,
    judged_ids,
    leaves_tools_out,
    prompt_and_completion_ids,
    prompt_ids,
    render_prompt,
    require_completion_shown,
    require_prompt_shown,
    template_ends,
    tools_of,
    with_template_arguments,
)
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
    assert words(tokenizer, judged_ids(MESSAGES, "take tea", tokenizer)) == expected
    assert words(tokenizer, judged_ids(MESSAGES, [{"role": "assistant", "content": "take tea"}], tokenizer)) == expected


def test_conversations_need_a_chat_template(tokenizer_of):
    for read in (render_prompt, lambda prompt, tokenizer: judged_ids(prompt, "tea", tokenizer)):
        with pytest.raises(HeedError, match=r"no chat template .*: set tokenizer\.chat_template"):
            read(MESSAGES, tokenizer_of())


def test_a_prompt_that_is_neither_text_nor_messages_is_refused(tokenizer_of):
    with pytest.raises(HeedError, match="a prompt is int, neither text nor a list of messages"):
        render_prompt(3, tokenizer_of())


def test_policy_and_judge_read_a_text_alike_whatever_the_template(tokenizer_of):
    for tokenizer in (tokenizer_of(chat=True), tokenizer_of()):
        read = prompt_ids("what helps ?", tokenizer)
        assert words(tokenizer, judged_ids("what helps ? ", "take tea", tokenizer)) == [
            *words(tokenizer, read),
            "take",
            "tea",
        ]


def closing(tokenizer, end, after=""):
    """The tokenizer with a template that closes every turn with an end of its own."""
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}> {{ m.content }}" + end + "{% endfor %}"
        "{% if add_generation_prompt %}<assistant> {% else %}" + after + "{% endif %}"
    )
    return tokenizer


def test_a_message_that_the_assistant_began_is_continued(tokenizer_of):
    tokenizer = closing(tokenizer_of(), " </s> ")
    begun = [*MESSAGES, {"role": "assistant", "content": "take tea"}]
    assert words(tokenizer, prompt_ids(begun, tokenizer)) == [
        "<user>", "what", "helps", "?", "</s>", "<assistant>", "take", "tea",
    ]  # fmt: skip
    whole = words(tokenizer, judged_ids(MESSAGES, "take tea rest", tokenizer))
    assert words(tokenizer, judged_ids(begun, " rest", tokenizer)) == whole
    assert whole[-4:] == ["take", "tea", "rest", "</s>"]
    before, after = prompt_and_completion_ids(begun, " rest", tokenizer)
    assert words(tokenizer, before + after) == whole[:-1]


def test_a_reply_ends_as_the_template_closes_it(tokenizer_of):
    tokenizer = tokenizer_of()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    for end, after, expected in (
        ("<end>\n", "", ["<end>"]),
        ("<end>\n", "</s>", ["<end>"]),  # Phi-3 ends a whole conversation besides
        (" </s>", "", ["</s>"]),
        (" . please", "", [".", "please", "</s>"]),  # no token of its own: the eos token ends it
        ("\n\n", "", ["</s>"]),
    ):
        closing(tokenizer, end, after)
        assert words(tokenizer, end_of_reply(MESSAGES, tokenizer)) == expected
        assert words(tokenizer, template_ends(tokenizer)) == expected[-1:]
    assert words(tokenizer, end_of_reply("what helps ?", tokenizer)) == ["</s>"]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "can only concatenate str"),
        ("{{ messages[0].text.upper() }}", "has no attribute 'text'"),
        ("{% if %}", "Expected an expression, got 'end of statement block'"),
    ],
)
def test_a_template_that_refuses_is_one_line(tokenizer_of, template, reason):
    tokenizer = tokenizer_of()
    tokenizer.chat_template = template
    for read in (render_prompt, lambda prompt, tokenizer: judged_ids(prompt, "tea", tokenizer)):
        with pytest.raises(HeedError, match=f"the chat template refuses the conversation: .*{reason}") as caught:
            read(MESSAGES, tokenizer)
        assert "\n" not in str(caught.value)


def test_a_judge_reads_every_message_of_a_completion(tokenizer_of):
    tokenizer = tokenizer_of(chat=True)
    said = [{"role": role, "content": text} for role, text in (("assistant", "tea ?"), ("user", "please"))]
    assert words(tokenizer, judged_ids(MESSAGES, [*said, {"role": "assistant", "content": "mint"}], tokenizer)) == [
        "<user>", "what", "helps", "?", "<assistant>", "tea", "?", "<user>", "please", "<assistant>", "mint",
    ]  # fmt: skip


def test_a_templates_variables_are_set_in_a_copy_that_can_be_saved(tokenizer_of, tmp_path):
    tokenizer = tokenizer_of(chat=True)
    tokenizer.chat_template += (
        "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}rest {% endif %}"
    )
    silent = with_template_arguments(tokenizer, {"enable_thinking": False})
    silent.save_pretrained(tmp_path)
    for given in (silent, AutoTokenizer.from_pretrained(tmp_path)):
        assert render_prompt(MESSAGES, given) == "<user> what helps ? <assistant> rest "
    for given in (tokenizer, with_template_arguments(tokenizer, {"enable_thinking": True})):
        assert render_prompt(MESSAGES, given) == "<user> what helps ? <assistant> "
    for given, name in ((tokenizer, "enable_thought"), (tokenizer_of(), "enable_thinking")):
        with pytest.raises(HeedError, match=f"chat template does not know the variable '{name}'"):
            with_template_arguments(given, {name: False})


def mint(dose: int) -> str:
    """
    Brew mint.

    Args:
        dose: How many leaves.
    """
    return "mint" * dose


def with_tools(tokenizer):
    tokenizer.chat_template = (
        "{% for tool in tools or [] %}{{ (tool.function or tool) | tojson }} {% endfor %}" + tokenizer.chat_template
    )
    return tokenizer


@pytest.mark.parametrize(
    ("tools", "written"),
    [
        ([{"name": "tea"}], '{"name": "tea"} '),
        ([{"name": "tea"}, {"name": "rest"}], '{"name": "tea"} {"name": "rest"} '),
        # as a data set gives them: each tool has the keys of all
        (
            [{"name": "tea", "parameters": {"properties": {"cups": {"type": "integer"}, "hours": None}}}],
            '{"name": "tea", "parameters": {"properties": {"cups": {"type": "integer"}}}} ',
        ),
        ('[{"name": "tea"}]', '{"name": "tea"} '),
        (['{"name": "tea"}'], '{"name": "tea"} '),
        (
            [mint],
            '{"name": "mint", "description": "Brew mint.", "parameters": {"type": "object", "properties": {"dose": '
            '{"type": "integer", "description": "How many leaves."}}, "required": ["dose"]}, '
            '"return": {"type": "string"}} ',
        ),
        ([], ""),
        (None, ""),
    ],
)
def test_tools_go_through_the_chat_template_of_policies_and_judges(tokenizer_of, tools, written):
    tokenizer = with_tools(tokenizer_of(chat=True))
    rendered = render_prompt(MESSAGES, tokenizer, tools)
    assert rendered == written + "<user> what helps ? <assistant> "
    assert prompt_ids(MESSAGES, tokenizer, tools) == tokenizer(rendered, add_special_tokens=False)["input_ids"]
    before, after = prompt_and_completion_ids(MESSAGES, "take tea", tokenizer, tools)
    assert before + after == judged_ids(MESSAGES, "take tea", tokenizer, tools)
    assert not leaves_tools_out(MESSAGES, tokenizer, tools)
    assert leaves_tools_out("fever", tokenizer, tools) == bool(written)
    assert leaves_tools_out(MESSAGES, tokenizer_of(chat=True), tools) == bool(written)


def untold(dose):
    return dose


@pytest.mark.parametrize("tools", ["tea", ["tea"], 3, [3], '{"name": "tea"}'])
def test_what_are_no_tools_is_one_line(tools):
    with pytest.raises(HeedError, match=r"the tools are .* .column tools.: give a list of JSON schemas"):
        tools_of(tools)


def test_a_function_that_says_nothing_of_itself_is_one_line(tokenizer_of):
    with pytest.raises(HeedError, match="refuses the conversation: Cannot generate JSON schema for untold"):
        render_prompt(MESSAGES, with_tools(tokenizer_of(chat=True)), [untold])


def test_what_a_data_set_fills_into_messages_does_not_reach_the_template(tokenizer_of):
    tokenizer = tokenizer_of(chat=True)
    tokenizer.chat_template = "{% for m in messages %}{{ m.tool_calls | tojson }}{% endfor %}"
    filled = [{"role": "assistant", "content": None, "tool_calls": [{"name": "tea", "hours": None}], "name": None}]
    assert render_prompt(filled, tokenizer) == '[{"name": "tea"}]'


MARKED = "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        (MARKED + "{% if add_generation_prompt %}<assistant> {% endif %}", "<user> what helps ? <assistant> "),
        # Mistral: a reply follows the user's message at once
        (
            "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
            "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}",
            "[INST] what helps ? [/INST]",
        ),
        # Qwen3: behind the opened turn a reply has more than the prompt
        (
            "{% for m in messages %}<{{ m.role }}>{{ ' <no thoughts>' if m.role == 'assistant' }} {{ m.content }} "
            "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
            "<user> what helps ? <assistant>",
        ),
    ],
)
def test_templates_that_open_the_assistants_turn_are_taken(tokenizer_of, template, shown):
    tokenizer = tokenizer_of()
    tokenizer.chat_template = template
    require_prompt_shown(MESSAGES, tokenizer)
    require_completion_shown(MESSAGES, tokenizer)
    assert render_prompt(MESSAGES, tokenizer) == shown


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (MARKED, "does not open the assistant's turn: replies follow '<assistant> '"),
        ("{% if add_generation_prompt %}<assistant> {% endif %}", "leaves out the prompt's last message"),
        ("{{ bos_token }}", "leaves out the prompt's last message"),
    ],
)
def test_templates_that_do_not_show_what_is_to_be_answered_are_refused(tokenizer_of, template, said):
    tokenizer = tokenizer_of()
    tokenizer.chat_template = template
    with pytest.raises(HeedError, match=said):
        require_prompt_shown(MESSAGES, tokenizer)


def test_a_prompt_that_the_assistant_began_needs_no_turn_opened(tokenizer_of):
    tokenizer = tokenizer_of()
    tokenizer.chat_template = MARKED
    begun = [*MESSAGES, {"role": "assistant", "content": "take"}]
    require_prompt_shown(begun, tokenizer)
    assert render_prompt(begun, tokenizer) == "<user> what helps ? <assistant> take"
    with pytest.raises(HeedError, match="does not open the assistant's turn"):
        require_prompt_shown(MESSAGES, tokenizer)
