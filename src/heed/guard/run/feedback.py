"""A person at the page of a guarded run: what they retract is unlearnt, and what the agent does alone they see."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym

from heed.guard.decisions import Decision, Step
from heed.guard.guard import Guard
from heed.guard.phases import Phase
from heed.guard.run.phases import RunPhases
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.presentation import action_in_words, part_names


class Learnt(Protocol):
    """What can be unlearnt: labels, demonstrations."""

    def retract(self, key: str) -> bool:
        """Forget what a judgement said, by its key; whether there was anything to forget."""
        ...


class Retractions:
    """Unlearns what a person has retracted; an observer that stands before the phases, whose step may end in a fit.

    Args:
        person: at a page.
        learnt: what is learnt from.
    """

    def __init__(self, person: HumanOverseer, *learnt: Learnt) -> None:
        self._person, self._learnt = person, learnt
        self._early: list[str] = []  # retracted before the step that they judged brought its label

    def __call__(self, step: Step) -> None:  # noqa: ARG002 - what a person does is not about the step
        """Unlearn what was retracted since the last step; a label that this step brings is there by the next."""
        for key in self._early:
            self._retract(key)
        self._early = [key for key in self._person.retractions() if not self._retract(key)]

    def _retract(self, key: str) -> bool:
        forgotten = [each.retract(key) for each in self._learnt]  # by all of them
        return any(forgotten)


class Outcomes:
    """Tells a person what a block did; an observer.

    Args:
        person: at a page.
        guard: in front of the environment.
    """

    def __init__(self, person: HumanOverseer, guard: Guard) -> None:
        self._person, self._env = person, guard.env
        self._declared = guard.situations[0].safe_action is not None

    def __call__(self, step: Step) -> None:
        """Take in a step."""
        if step.decision.decision == "block":
            self._person.happened(f"Step {step.timestep}: {outcome(step.decision, self._env, self._declared)}")


_INSTEAD = {
    "person": "as they acted",
    "blocker": "the declared safe action",
    "planner": "as planned",
    "recovery": "as the recovery policy acts",
    "fallback": "as a last resort",
}


def outcome(decision: Decision, env: gym.Env[Any, Any], declared: bool) -> str:
    """What a block did, in words: why, and what was executed.

    Args:
        decision: that blocked.
        env: whose actions and parts of the state have names, or numbers.
        declared: whether a safe action is; else the middle of the box is taken, or the first choice.

    >>> from heed.oversight import Verdict
    >>> env = gym.make("CartPole-v1")
    >>> by_ada = Verdict(True, person="ada", reason="too fast")
    >>> outcome(Decision(0, 1, "block", "planner", cause="person", verdict=by_ada), env, True)
    'blocked by ada: too fast; instead, as planned: right'
    """
    how = _INSTEAD.get(decision.source, decision.source)
    if decision.source in ("blocker", "fallback") and not declared:
        how = "as no safe action is declared"
    taken = f"{how}: {action_in_words(decision.executed, env)}"
    return f"{_why(decision, env)}; instead, {taken}"


def _why(decision: Decision, env: gym.Env[Any, Any]) -> str:
    verdict, look = decision.verdict, decision.look
    if decision.cause == "person" and verdict is not None:
        by = f"blocked by {verdict.person or 'the overseer'}"
        if verdict.acted:
            return f"{verdict.person} acted"
        if verdict.glimpsed:
            return f"{by}, too soon to say anything of this action"
        return f"{by}: {verdict.reason}" if verdict.reason else by
    if decision.cause in ("danger", "no way out") and look is not None:
        over = f"risk {_share(look.risk)}, where less than {_share(look.limit)} passes"
        if decision.cause == "danger":
            return f"blocked for the very next step: {over}"
        ahead = "" if decision.first_unsafe is None else f" in imagined step {decision.first_unsafe + 1}"
        return f"blocked for what follows{ahead}: {over}, and no way out was found"
    if decision.cause == "unknown":
        names = part_names(env)
        parts = [f"part {part}" if names is None else names[part] for part in decision.unknown_parts[:3]]
        return f"blocked for what is not known: futures leave what was seen{' in ' if parts else ''}{', '.join(parts)}"
    if decision.cause == "invalid":
        return "blocked: it is no action, or the state is none"
    return f"blocked: {verdict.reason if verdict is not None and verdict.reason else 'what should have judged failed'}"


def _share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.01 else f"{100 * part:.2g}%"


class Spectator:
    """Shows a person an agent that acts by itself, and lets it wait while they pause it; an observer behind the phases.

    Args:
        person: at a page.
        phases: of the run.
        guard: in front of the environment.
    """

    def __init__(self, person: HumanOverseer, phases: RunPhases, guard: Guard) -> None:
        self._person, self._phases, self._guard = person, phases, guard
        self._phase = phases.phase

    def __call__(self, step: Step) -> None:
        """Show where the step led; wait as long as the agent is paused."""
        if self._phases.phase is not self._phase:
            self._phase = self._phases.phase
            self._person.go_alone()
        if self._phase is Phase.AUTONOMY:
            executed = step.decision.executed
            proposal = Proposal(step.next_state, executed, step.info, self._guard.env, step.timestep, step.episode)
            self._person.show(proposal)
            self._person.wait_while_paused()
