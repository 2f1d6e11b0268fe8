"""What a page says of the desk, to one person: a sentence, a title, and what each button does now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEFT = "{left}"
"""Stands in a sentence for the seconds that are left; the page counts them down."""
BUSY_S = 1.0
"""Seconds without a proposal, after which a page says that the agent is at something else."""
KEPT_UP = 10.0
"""Actions in a second, beyond which nobody judges each, but what they see of the film."""
LEARNING = "it learns from what was said: nothing is asked of you until it is done"
ALONE = "the agent acts by itself; you are asked where it is unsure or stuck"


@dataclass(frozen=True)
class Said:
    """What a page says.

    Args:
        sentence: what happens now, and what will; `LEFT` in it is counted down.
        title: of the page's tab, short.
        calls: whether this person is waited for, so that the tab may draw attention.
        buttons: by name, what it says and whether it can be pressed now.
        proposes: whether the action that was shown last is still what happens next: it is drawn onto the picture.
        briefing: before anything has been let go, what a person is to know first, sentence by sentence; else nothing.
    """

    sentence: str
    title: str
    calls: bool
    buttons: Mapping[str, tuple[str, bool]]
    proposes: bool = True
    briefing: Sequence[str] = ()


def said_of(status: Mapping[str, Any], person: str, judges: bool) -> Said:
    """What a page says to a person.

    Args:
        status: of the desk, as `HumanOverseer.status` tells it.
        person: whose page it is.
        judges: whether they may judge.

    >>> from heed.oversight.overseers.human import HumanOverseer
    >>> human = HumanOverseer(); human.connect("page", "ada", judges=True)
    >>> said_of(human.status(), "ada", judges=True).sentence
    'paused: press Space to begin'
    """
    sentence, title, calls = _sentence(status, person, judges)
    return Said(
        sentence,
        f"{title} – heed",
        calls,
        _buttons(status, person, judges),
        _proposes(status),
        _briefing(status, judges),
    )


def _proposes(status: Mapping[str, Any]) -> bool:
    """Between two proposals, and while it acts by itself, what was shown last is on its way for a moment."""
    if status["ended"] or status["proposal"] is not None:
        return not status["ended"]
    return not status["learning"] and (status["alone"] or status["empty_s"] <= BUSY_S)


def _on(status: Mapping[str, Any]) -> str:
    return "go on" if status["begun"] else "begin"


def _briefing(status: Mapping[str, Any], judges: bool) -> tuple[str, ...]:
    if status["begun"] or status["ended"] or status["alone"] or not judges:
        return ()
    task = status["task"]
    return (
        "An agent learns here, and you are its overseer." + (f" {task[:1].upper()}{task[1:]}." if task else ""),
        "You see each action before it is taken. Block what leads to a catastrophe, as early as you see it coming.",
        f"Silence lets an action pass {_after(status)}, and the agent learns that it was harmless; where it asks you, "
        "silence blocks. A key at the very moment at which an action comes blocks it, and teaches nothing.",
        "Press Space to begin, and again to pause.",
    )


def _after(status: Mapping[str, Any]) -> str:
    rate = status["rate"]
    return f"after {f'1/{rate:g}' if rate >= 1 else f'{1 / rate:g}'} s in view"


def _sentence(status: Mapping[str, Any], person: str, judges: bool) -> tuple[str, str, bool]:
    state, acting = status["state"], status["acting"]
    if status["ended"]:
        return status["ended"], "over", False
    if state == "disconnected":
        waits = "the agent goes on by itself" if status["alone"] and not status["halted"] else "the agent waits"
        return f"nobody who may judge is here: {waits}", "watch", False
    if state == "taken over":
        who = "you act" if acting == person else f"{acting} acts"
        return f"taken over: {who} in the agent's place", "taken over", acting == person
    if state == "paused":
        why = f"{status['why']}: " if status["why"] else ""
        return f"paused: {why}{f'press Space to {_on(status)}' if judges else 'the agent waits'}", "paused", False
    if status["proposal"] is None:
        if status["alone"]:
            return ALONE, "acts by itself", False
        if status["learning"]:
            return LEARNING, "learns", False
        if status["empty_s"] > BUSY_S:
            return "nothing is in view: the agent's world is slow, or its learner at work", "busy", False
    open_to = person in status["looking_back"] and person not in status["judged_by"]
    if open_to and not status["alone"] and status["holding"] in (None, person):
        return _of_the_past(status, person)
    if status["holding"] is not None:
        who = "you hold" if status["holding"] == person else f"{status['holding']} holds"
        return f"everything is blocked: {who} the block", "blocking", False
    return _open(status, person, judges)


def _of_the_past(status: Mapping[str, Any], person: str) -> tuple[str, str, bool]:
    """Of a proposal that is not in the view of a person who looks at the past."""
    others = [name for name in status["people"] if name not in (*status["looking_back"], *status["judged_by"], person)]
    if status["asked"]:
        return f"it asks, and you look at the past: {LEFT} s left, then it is blocked", "asks you", True
    if len(others) < status["votes"] - len(status["judged_by"]):
        return "you look at the past: what is proposed waits until you are back", "the past", False
    return f"you look at the past: what is proposed is left to {' and '.join(others)}", "the past", False


def _open(status: Mapping[str, Any], person: str, judges: bool) -> tuple[str, str, bool]:
    """Of a proposal that a verdict is open on."""
    given = status["judged_by"]
    others = [name for name in status["people"] if name not in given and name != person]
    mine = judges and person not in given
    if status["asked"]:
        end = f"{LEFT} s left, then it is blocked"
        if mine:
            return f"it asks you: {end}", "asks you", True
        waiting = f"waits for {' or '.join(others) or 'somebody else'}"
        return f"it asks: your verdict stands, and it {waiting}; {end}" if judges else f"it asks: {end}", "asks", False
    more, absent = status["votes"] - len(given), status["votes"] - len(status["people"])
    if absent > 0:
        who = "one more person" if absent == 1 else f"{absent} more people"
        return f"every action waits for {who} to come: {status['votes']} judge each", "waits", False
    if judges and not mine and more > 0:
        return f"your verdict stands: it waits for {more} more, from {' or '.join(others)}", "waits", False
    also = f"; {status['votes']} people judge each: {', '.join(given) or 'nobody'} has" if status["votes"] > 1 else ""
    if status["state"] == "watching":
        if status["stepping"]:
            return (
                f"one step: it is taken {_after(status)}, unless it is blocked; then the agent waits",
                "one step",
                False,
            )
        fast = "; nobody can judge each of so many" if status["rate"] > KEPT_UP else ""
        return f"watching: an action passes {_after(status)}, unless it is blocked{also}{fast}", "watching", False
    who = "you" if judges else " or ".join(status["people"])
    return f"deciding: every action waits for {who}{also}", "waits for you" if mine else "deciding", mine


def _buttons(status: Mapping[str, Any], person: str, judges: bool) -> dict[str, tuple[str, bool]]:
    state, holding, alone = status["state"], status["holding"], status["alone"]
    here = judges and not status["ended"] and state != "disconnected"
    runs = here and state in ("watching", "deciding")
    between = not alone and not status["learning"]  # a block is taken between two actions too
    judging = runs and (between or status["proposal"] is not None)
    is_open = judging and status["proposal"] is not None and person not in status["judged_by"]
    held = "Let go: everything is blocked" if holding == person else f"{holding} blocks everything"
    return {
        "block": ("Block this action" if runs else "Block (nothing runs)", judging),
        "allow": ("Let it pass", is_open),
        "go": ("Pause" if runs else _on(status).capitalize(), here),
        "step": ("One step", here),
        "each": ("Let them pass by themselves" if state == "deciding" else "Decide on each", here),
        "slower": ("Slower", here),
        "faster": ("Faster", here),
        "take": (
            "Give back" if state == "taken over" else "Take over",
            here and not alone and status["acting"] in (None, person),
        ),
        "catastrophe": ("This is a catastrophe", judging),
        "undo": ("Take my last verdict back", here and status["recorded"]),
        "mark": ("Mark this moment", judges and bool(status["recorded"]) and not status["ended"]),
        "react": ("Measure my reaction", here),
        "hold": ("Hold to block" if holding is None else held, runs and not alone and holding in (None, person)),
    }
