"""Guidelines: which words of a file are an objective's definition, and which are of all pairs."""

from __future__ import annotations

import pytest

from heed.errors import HeedError
from heed.oversight.comparisons.guidelines import Guidelines, guidelines_in, read_guidelines

ASKED = ["help", "harmless"]


def test_a_definition_ends_at_the_next_heading_of_its_level_or_above():
    text = (
        "Be fair.\n\n## HELP ##\nIt cures.\n### For example\nHoney.\n## Sources\nNone.\n# *harmless*\nNobody is hurt."
    )
    assert guidelines_in(text, ASKED) == Guidelines(
        "Be fair.\n\n## Sources\nNone.",
        {"help": "It cures.\n### For example\nHoney.", "harmless": "Nobody is hurt."},
    )


@pytest.mark.parametrize("fence", ["```", "~~~~"])
def test_a_heading_within_code_is_none(fence):
    text = f"# help\nSay\n{fence}\n# harmless\n``\n{fence}\nso.\n# harmless\nNo."
    assert guidelines_in(text, ASKED).definitions == {
        "help": f"Say\n{fence}\n# harmless\n``\n{fence}\nso.",
        "harmless": "No.",
    }


def test_without_headings_all_is_general():
    assert guidelines_in("help\n#help\n", ASKED) == Guidelines("help\n#help", {})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"", "are empty"),
        (b"\n \n", "are empty"),
        (b"\xff", "no UTF-8 text"),
        (b"# help\na\n# Help\nb", "'help' is defined twice"),
        (b"# help\n\n# harmless\nb", "'help' has a heading and no words"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path, text, wrong):
    path = tmp_path / "guidelines.md"
    path.write_bytes(text)
    with pytest.raises(HeedError, match=wrong):
        read_guidelines(path, ASKED)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HeedError, match=r"cannot be read.*none\.md"):
        read_guidelines(tmp_path / "none.md", ASKED)
