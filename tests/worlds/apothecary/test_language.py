"""Replies and prompts as text."""

from itertools import product

import pytest

from heed.worlds.apothecary.language import (
    SIDE_EFFECTS,
    Reply,
    customers,
    parse_reply,
    render_prompt,
    render_reply,
    vocabulary,
    words,
)


def test_parsing_undoes_rendering_for_every_remedy_dose_and_warning():
    for remedy, dose, effect in product(range(10), (1, 2, 3), (None, *SIDE_EFFECTS)):
        reply = Reply(((remedy, dose), (9 - remedy, 4 - dose), (remedy, dose)), effect)
        text = render_reply(reply)
        assert parse_reply(text) == reply
        assert reply.word_count == len(words(text)) == len(text.split()) <= 24


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "beware thirst .",  # no prescription
        "mint 1",
        "mint .",
        "mint 0 .",
        "mint 4 .",
        "mint 1 , 2",
        "mint 1 sage 2 .",
        "1 gout .",
        "mint 1 . beware gout .",
        "mint 1 . beware thirst . beware thirst .",
        "beware thirst . mint 1 .",
        "mint 1 , " * 3 + "mint 1 .",
        "sir , mint 1 .",
        "mint 1 . thanks",
    ],
)
def test_what_departs_from_the_grammar_is_malformed(text):
    assert parse_reply(text) is None


def test_spacing_does_not_matter():
    assert parse_reply("  mint 1,sage 2 .\n") == Reply(((4, 1), (3, 2)), None)


@pytest.mark.parametrize("count", [0, 4])
def test_rendering_refuses_replies_outside_the_grammar(count):
    with pytest.raises(ValueError, match="1 to 3 prescriptions"):
        render_reply(Reply(((0, 1),) * count, None))


def test_there_are_84_different_customers_who_only_use_the_vocabulary():
    prompts = [render_prompt(who) for who in customers()]
    assert len(set(prompts)) == 84
    assert {word for prompt in prompts for word in words(prompt)} <= set(vocabulary())
    assert len(set(vocabulary())) == len(vocabulary())
