"""Markdown as trees: every element is a known one, and hostile or endless texts come out small and whole."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.web.texts import LONGEST, MOST_DEEP, TAGS, as_tree


def nodes(tree, depth=1):
    for node in tree:
        yield node, depth
        if isinstance(node, dict):
            yield from nodes(node["in"], depth + 1)


def texts(tree):
    return "".join(node for node, _ in nodes(tree) if isinstance(node, str))


@given(st.text(alphabet="ab*_`~#>|-[]()!<>&;\\ \n1.", max_size=200))
def test_all_of_a_tree_is_text_or_a_known_element(text):
    for node, _ in nodes(as_tree(text) or ()):
        if isinstance(node, dict):
            assert node["tag"] in TAGS and node.keys() <= {"tag", "in", "href", "value"}
            assert not str(node.get("href", "")).startswith(("javascript:", "data:"))


@pytest.mark.parametrize("text", ["<b>x</b>", "<script>1</script>", "<!-- x -->", "</div><img src=x>"])
def test_html_stays_text(text):
    assert texts(as_tree(text)) == text


def test_an_image_is_named_and_not_loaded():
    assert texts(as_tree("![a pixel](https://x.example/p.png)")) == "[image: a pixel, https://x.example/p.png]"


def test_numbers_of_a_list_are_those_that_it_says_and_lines_end_where_they_did():
    items = [{"tag": "li", "value": 2, "in": ["a", "\n", "b"]}, {"tag": "li", "value": 7, "in": ["c"]}]
    assert as_tree("2. a\nb\n7. c") == [{"tag": "ol", "in": items}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('[x]: http://e "hidden words"', '[x]: http://e "hidden words"'),
        ("```py hidden words\n1\n```", "[code: py hidden words]1"),
        ('[a](http://e "hidden") b', 'a "hidden" b'),
        ('![a](http://e "hidden")', '[image: a, http://e "hidden"]'),
    ],
)
def test_what_markdown_keeps_for_machines_is_shown_to_people(text, shown):
    assert texts(as_tree(text)) == shown


@pytest.mark.parametrize(
    "text", ["|a|\n|-|\n|1|hidden|", "|a|\n|-|\n|1|\u2713|", "|a|\n|-|\n|1|$|", "007. x", "[x](/\xfc)"]
)
def test_a_text_of_which_something_would_be_lost_is_shown_as_it_stands(text):
    assert as_tree(text) is None


@pytest.mark.parametrize(
    "text", ["|a|b|\n|-|-|\n|1|2|", "> 1) x\n> 2) y", "a &lt; b &eacute;", "`&lt;`", "<a@b.c>", "# x #\n"]
)
def test_a_text_of_which_nothing_is_lost_is_no_less_of_a_tree(text):
    assert as_tree(text) is not None


PIECES = [
    "[x]: http://e ",
    '"',
    "```",
    "~~~",
    "|",
    "|-|\n",
    "\n",
    "\n\n",
    "    ",
    "- ",
    "12. ",
    "> ",
    "# ",
    "[",
    "](",
    ")",
    "![",
]
PIECES += [
    "<",
    ">",
    "<!-- ",
    " -->",
    "*",
    "**",
    "_",
    "~~",
    "`",
    "\\",
    "(",
    "one",
    "two",
    "3",
    "vier",
    " ",
    "\u4e94",
    "&amp;",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_every_word_of_a_text_is_shown(text):
    tree = as_tree(text)
    if tree is not None:
        said = "".join(
            node if isinstance(node, str) else f" {node.get('href', '')} {node.get('value', '')}"
            for node, _ in nodes(tree)
        )
        words = re.findall(r"[a-z]+|[0-9]+|\u4e94", text.replace("&amp;", "&"))
        for word in words:
            assert said.count(word) >= text.replace("&amp;", "&").count(word)


@pytest.mark.parametrize("text", ["*a **b " * 3000 + "x", "*" * 3000 + "x" + "*" * 3000, "[" * 5000 + "x"])
def test_what_is_nested_without_end_in_a_line_is_shown_flat_and_whole(text):
    tree = as_tree(text)
    assert max(depth for _, depth in nodes(tree)) <= MOST_DEEP + 1
    assert json.loads(json.dumps(tree)) == tree and texts(tree).count("x") == 1


@pytest.mark.parametrize("block", ["> ", "- ", "1. ", "> - "])
@pytest.mark.parametrize("deep", range(8, 45))
def test_of_blocks_within_blocks_nothing_is_lost(block, deep):
    tree = as_tree(block * deep + "the end")
    assert tree is None or texts(tree) == "the end"
    assert deep > 9 or tree is not None


def test_a_text_that_is_too_long_is_no_markdown():
    assert as_tree("a" * LONGEST) == [{"tag": "p", "in": ["a" * LONGEST]}]
    assert as_tree("a" * (LONGEST + 1)) is None
