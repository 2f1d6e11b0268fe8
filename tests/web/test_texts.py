"""Markdown as trees: every element is a known one, and hostile or endless texts come out small and whole."""

from __future__ import annotations

import json

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
    for node, _ in nodes(as_tree(text)):
        if isinstance(node, dict):
            assert node["tag"] in TAGS and node.keys() <= {"tag", "in", "href", "start"}
            assert not str(node.get("href", "")).startswith(("javascript:", "data:"))


@pytest.mark.parametrize("text", ["<b>x</b>", "<script>1</script>", "<!-- x -->", "</div><img src=x>"])
def test_html_stays_text(text):
    assert texts(as_tree(text)) == text


def test_an_image_is_named_and_not_loaded():
    assert texts(as_tree("![a pixel](https://x.example/p.png)")) == "[image: a pixel, https://x.example/p.png]"


def test_a_numbered_list_begins_where_it_says_and_lines_end_where_they_did():
    assert as_tree("2. a\nb") == [{"tag": "ol", "start": 2, "in": [{"tag": "li", "in": ["a", "\n", "b"]}]}]


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
