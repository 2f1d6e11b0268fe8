"""What prompts carry: where it stands, and prompts that cannot carry it."""

import pytest
from tiny_policies import TOKENIZER, WORLD, lora, tiny_model

from heed.align.conditioning.tags import check_tags, tagged, write_tag
from heed.align.models.policy import Policy
from heed.balance.preferences import spread_preferences
from heed.errors import HeedError
from heed.worlds.apothecary import Apothecary
from heed.worlds.apothecary.language import render_shares, vocabulary, words


def test_it_stands_before_what_the_user_says_last_and_nothing_else_changes():
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Fever?"},
        {"role": "assistant", "content": "Since when?"},
        {"role": "user", "content": "Monday."},
        {"role": "assistant", "content": "Then"},
    ]
    asked = tagged(talk, ["help", "harmless"], [0.25, 0.75])
    assert asked[3] == {"role": "user", "content": "[help 25%, harmless 75%] Monday."}
    assert [asked[i] for i in (0, 1, 2, 4)] == [talk[i] for i in (0, 1, 2, 4)]
    assert talk[3]["content"] == "Monday."
    with pytest.raises(HeedError, match="no user says"):
        tagged(talk[:1], ["help"], [1.0])


def test_the_world_writes_27_levels_in_its_own_words_and_tells_preferences_apart():
    shown = [render_shares([i / 26]) for i in range(27)]
    assert len(set(shown)) == 27 and shown[0] == "1 1 1 . " and shown[26] == "3 3 3 . "
    for count in range(2, 13):
        assert len({render_shares(preference) for preference in spread_preferences(count, 2)}) == count
    assert {word for text in shown for word in words(text)} <= set(vocabulary())
    assert Apothecary().write_tag(["help", "harmless"], [0.1, 0.9]) == "1 2 1 , 3 2 3 . "
    assert render_shares([-0.3, 1.4]) == "1 1 1 , 3 3 3 . "


def test_numbers_that_the_tokens_do_not_show_are_refused():
    policy = Policy(tiny_model(), TOKENIZER, lora())
    names = ("help", "harmless")
    told = [[0.3, 0.7], [0.7, 0.3]]
    with pytest.raises(HeedError, match="show 1 of the 2 preferences that prompts carry apart"):
        check_tags(
            [{"prompt": "take one"}], policy, names, write_tag, 4, told
        )  # words that this tokenizer does not have
    with pytest.raises(HeedError, match="prompt 1 with its numbers has"):
        rows = [{"prompt": "take"}, {"prompt": "take " * (policy.context - 5)}]
        check_tags(rows, policy, names, WORLD.write_tag, 4, told)
