"""Texts as pages show them: Markdown as a tree of a few known elements, which a page builds itself; never HTML.

Completions are hostile. The tree holds texts and names of `TAGS` alone, and the page makes each element of it with
`createElement` and sets each text as text, so that nothing in a completion can become markup of its own.

Nor can they hide anything from whoever judges them: where the tree would not say all that the text says, there is none,
and the text is shown as it stands.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.token import Token

Node: TypeAlias = str | dict[str, Any]
"""A text, or ``{"tag": ..., "in": [nodes]}``; a link has its ``href`` beside, a numbered item its ``value``."""

TAGS = {
    *("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "hr"),
    *("code", "em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"),
}
"""All that a text can be made of."""
LONGEST = 100_000
"""Characters of the longest text that is read as Markdown; a longer one is shown as it stands."""
MOST_DEEP = 32
"""Elements within each other; what lies deeper is shown without an element of its own."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "maxNesting": 40}).enable(["table", "strikethrough"])
_MARKDOWN.disable("reference")  # lines like ``[x]: /y "words"`` would vanish
_ENTITY = re.compile(r"&#?\w{1,32};")
_SAYING = re.compile(r"[A-Za-z0-9?$%@,/]|[^\x00-\x7f\s]")
"""Characters that are never markup."""


@lru_cache(maxsize=512)  # the same pair goes to several pages, and to each again after a lost connection
def as_tree(text: str) -> list[Node] | None:
    """A text's Markdown as a tree; None if it is too long or too deep to be read as such, or would not all be seen.

    HTML in it stays text, an image is named and not loaded, and a line's end stays one. What Markdown keeps for
    machines is shown too: the language of code, titles.

    >>> as_tree("Take *honey*:")
    [{'tag': 'p', 'in': ['Take ', {'tag': 'em', 'in': ['honey']}, ':']}]
    >>> as_tree("<b>")
    [{'tag': 'p', 'in': ['<b>']}]
    """
    if len(text) > LONGEST:
        return None
    blocks = _MARKDOWN.parse(text)
    if any(token.level >= _MARKDOWN.options["maxNesting"] - 1 for token in blocks):
        return None  # what lies deeper was not read at all
    tree: list[Node] = []
    within, titles = [tree], list[str]()
    for token in _flat(blocks):
        if token.nesting < 0:
            within.pop()
            if token.type == "link_close" and (title := titles.pop()):
                within[-1].append(f' "{title}"')
        elif token.nesting == 0:
            within[-1].extend(_leaves(token))
        else:
            if token.type == "link_open":
                titles.append(str(token.attrs.get("title", "")))
            if token.hidden or token.tag not in TAGS or len(within) > MOST_DEEP:
                within.append(within[-1])
            else:
                node = _element(token)
                within[-1].append(node)
                within.append(node["in"])
    return tree if _says_all(tree, text) else None


def _says_all(tree: Sequence[Node], text: str) -> bool:
    """Whether all that a text says is seen, in its order."""
    seen = iter(_SAYING.findall("".join(_seen(tree))))
    return all(said in seen for said in _SAYING.findall(_ENTITY.sub(lambda found: html.unescape(found[0]), text)))


def _seen(tree: Sequence[Node]) -> Iterator[str]:
    for node in tree:
        if isinstance(node, str):
            yield node
        else:
            yield str(node.get("value", ""))
            yield from _seen(node["in"])
            yield node.get("href", "")


def _flat(tokens: Sequence[Token]) -> Iterator[Token]:
    """Blocks and what is in their lines, in the order of the text."""
    for token in tokens:
        if token.type == "inline":
            yield from token.children or ()
        else:
            yield token


def _element(token: Token) -> dict[str, Any]:
    extra: dict[str, Any] = {"href": token.attrs["href"]} if "href" in token.attrs else {}
    if token.type == "list_item_open" and token.info:
        extra["value"] = int(token.info)
    return {"tag": token.tag, **extra, "in": []}


def _leaves(token: Token) -> list[Node]:
    if token.type in ("fence", "code_block"):
        language: list[Node] = [{"tag": "p", "in": [f"[code: {token.info.strip()}]"]}] if token.info.strip() else []
        return [*language, {"tag": "pre", "in": [token.content.removesuffix("\n")]}]
    if token.type == "code_inline":
        return [{"tag": "code", "in": [token.content]}]
    if token.type == "image":
        title = f' "{token.attrs["title"]}"' if "title" in token.attrs else ""
        return [f"[image: {token.content or 'without words'}, {token.attrs.get('src', '')}{title}]"]
    if token.type == "hr":
        return [{"tag": "hr", "in": []}]
    return ["\n" if token.type in ("softbreak", "hardbreak") else token.content]
