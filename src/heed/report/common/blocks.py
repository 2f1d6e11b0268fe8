"""What a page is made of: plain records that the template knows how to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Key:
    """One entry of a figure's key: a CSS colour, what it stands for, and its mark (line, dashed, dot, ring, area)."""

    colour: str
    label: str
    mark: str = "line"


@dataclass(frozen=True)
class Figure:
    """A plot with its key and a caption that says how to read it."""

    picture: Markup
    title: str
    caption: str
    key: list[Key] = field(default_factory=list)
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Table:
    """A table of numbers, but for its first column and those in ``text``; ``strong`` rows stand out."""

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""
    strong: list[int] = field(default_factory=list)
    text: list[int] = field(default_factory=list)
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Card:
    """One headline number: its name, the change in large type, and what it changed from and to."""

    name: str
    value: str
    note: str
    colour: str


@dataclass(frozen=True)
class Cards:
    """Headline numbers side by side."""

    cards: list[Card]
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True)
class Reply:
    """One completion: who gave it, its text, and its scores as (objective, reward, gold), gold empty if unknown."""

    label: str
    text: str
    scores: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Exchange:
    """A prompt and the replies to it, side by side."""

    prompt: str
    replies: list[Reply]


@dataclass(frozen=True)
class Exchanges:
    """Several prompts with their replies."""

    exchanges: list[Exchange]
    caption: str
    kind: ClassVar[str] = "exchanges"


@dataclass(frozen=True)
class Share:
    """A part of a whole: its name, its share in [0, 1], how it reads, and its CSS colour."""

    name: str
    share: float
    note: str
    colour: str


@dataclass(frozen=True)
class Shares:
    """A whole cut into parts, drawn as one bar."""

    shares: list[Share]
    caption: str
    kind: ClassVar[str] = "shares"


@dataclass(frozen=True)
class Note:
    """A sentence in its own paragraph; ``missing`` marks one that stands for what the run does not have."""

    text: str
    missing: bool = False
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Listing:
    """Preformatted text under a heading that opens it."""

    summary: str
    text: str
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Links:
    """Links to pages beside this one: (label, relative address, remark)."""

    links: list[tuple[str, str, str]]
    kind: ClassVar[str] = "links"


@dataclass(frozen=True)
class Scene:
    """One snapshot: its picture, a caption, and the address of a photograph if there is one.

    ``still`` ones are shown side by side where nothing moves: on paper, and without scripts.
    """

    picture: Markup
    caption: str
    photograph: str
    still: bool


@dataclass(frozen=True)
class Player:
    """Snapshots to step through, each over so many steps; ``backdrop`` is the symbol that all their pictures use."""

    scenes: list[Scene]
    backdrop: Markup
    horizon: int
    title: str
    caption: str
    key: list[Key] = field(default_factory=list)
    kind: ClassVar[str] = "player"


Block = Figure | Table | Cards | Exchanges | Shares | Note | Listing | Links | Player


@dataclass(frozen=True)
class Section:
    """A heading, a sentence that introduces it, and its blocks."""

    title: str
    blocks: list[Block]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report."""

    kicker: str
    title: str
    deck: str
    facts: list[tuple[str, str]]
    sections: list[Section]
    warnings: list[str] = field(default_factory=list)
    command: str = ""
