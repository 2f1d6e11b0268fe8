"""Interventions: who decides on a proposed action, and how (MBHI; docs/methods.md).

A step of the guard is: look ahead; ask a person if unsure; let pass if safe; else plan; else the declared safe action.
An `Intervention` is one way of going through that; the phases of a run swap one for another.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np

from heed.errors import HeedError, Stopped
from heed.guard.decisions import Because, Choice, Decision, Why
from heed.guard.keeping.parts import LookaheadParts, Replaces
from heed.guard.planning.imagination import Controller
from heed.guard.planning.lookahead import Look, Lookout
from heed.guard.planning.planner import SafePlanner
from heed.guard.replacement import Planning, Replacement
from heed.guard.situations import Situation, copied
from heed.oversight.overseers.base import Overseer, Proposal, scope_of

Searched = tuple[Decision | None, float]  # what a search for a way on from an action found, and its seconds
Mode = Literal["shadow", "block", "replace", "penalty"]
MODES = ("replace", "penalty", "block", "shadow")


class Intervention(ABC):
    """Decides on proposed actions."""

    @property
    def needs_env(self) -> bool:
        """Whether it looks into one environment, and cannot decide in another."""
        return False

    @property
    def alone(self) -> Intervention:
        """The same without asking anybody."""
        return self

    @abstractmethod
    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """Let the proposed action pass, or block it and say what is executed in its place."""

    def instead_of(self, situation: Situation, proposed: Any) -> Decision:
        """A block of what cannot be judged at all: the declared safe action, unless a strategy knows better."""
        return Replacement().choose(situation, proposed)

    @property
    def looking(self) -> Lookahead | None:
        """What of it looks ahead, if anything."""
        return None


class Off(Intervention):
    """Nobody judges: every action is executed as it is proposed."""

    def decide(self, situation: Situation, proposed: Any) -> Decision:  # noqa: ARG002 - it looks at nothing
        """Let it pass."""
        return Decision(proposed, proposed, "allow", "policy")


class Nobody(Intervention):
    """Nobody is there to judge, though somebody should be: every action is blocked."""

    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """Block it."""
        situation.faults.report("nobody judges, neither an overseer nor a lookahead: every action is blocked")
        return replace(self.instead_of(situation, proposed), judged=False, cause="fault")


class Overseen(Intervention):
    """An overseer sees every proposed action; what they block is replaced.

    Args:
        overseer: a person, or a script.
        replacement: what is executed in place of a blocked action for which the overseer names none.
    """

    def __init__(self, overseer: Overseer, replacement: Replacement | None = None) -> None:
        self.overseer, self.replacement = overseer, Replacement() if replacement is None else replacement

    @property
    def needs_env(self) -> bool:
        """Whether the overseer looks into one environment."""
        return scope_of(self.overseer).needs_env

    def decide(self, situation: Situation, proposed: Any, look: Look | None = None) -> Decision:
        """Ask the overseer, who is shown what the guard saw if it looked."""
        verdict = self.overseer.judge(self._shown(situation, proposed, look))
        judged: dict[str, Any] = {"verdict": verdict, "judged": verdict.is_label, "cause": "person"}
        if verdict.failed:
            why, judged = verdict.reason, judged | {"source": "fallback", "cause": "fault"}
            situation.faults.report(f"{why or f'the overseer {self.overseer.name} failed'}: the action is blocked")
            return replace(self.replacement.choose(situation, proposed, look), **judged)
        if isinstance(verdict.block, bool | np.bool_) and not verdict.block:  # None is no leave
            return Decision.seen(look, proposed, proposed, "allow", "policy", **judged | {"cause": ""})
        if verdict.instead is not None:
            if (meant := situation.actions.meant(verdict.instead)) is not None:
                return Decision.seen(look, proposed, meant, "block", "person", **judged, demonstrated=verdict.shows)
            situation.faults.report(f"the overseer {self.overseer.name} gave an action to take that is none")
        return replace(self.replacement.choose(situation, proposed, look), **judged)

    def _shown(self, situation: Situation, proposed: Any, look: Look | None) -> Proposal:
        # Copies: what was judged is what is executed, whatever the overseer does to what it was shown.
        shown = (*copy.deepcopy((situation.observation, proposed)), copied(situation.info))
        proposal = Proposal(*shown, situation.env, situation.timestep, situation.episode, stream=situation.number)
        if look is None:
            return proposal
        own = look.own
        ways, risks = own.states[:, :, 0].flatten(1, 2).transpose(0, 1), own.danger[:, :, 0].amax(0).flatten()
        return replace(proposal, risk=look.risk, futures=ways.numpy(), future_risks=risks.numpy())


class Lookahead(Intervention):
    """Looks ahead in the learnt models: lets a safe action pass, else plans, else takes the declared safe action.

    Args:
        lookout: imagines what follows an action.
        planner: plans in place of a blocked one; None takes the declared safe action.
        controllers: policies and brakes, batched, whose futures seed the planner.
        replaces: ``plan`` executes the planner's action, ``declared`` the declared safe action, and the planner only
            saves actions where the lookout blocks when there is ``no_plan``.

    Attributes:
        parts: what it was made of; None where that is not known, and then it cannot be saved.

    Raises:
        HeedError: a rule of blocking that needs a planner, and there is none.
    """

    def __init__(
        self,
        lookout: Lookout,
        planner: SafePlanner | None = None,
        controllers: Sequence[Controller] = (),
        replaces: Replaces = "plan",
    ) -> None:
        self.lookout, self.planner = lookout, planner
        self.planning = None if planner is None else Planning(planner, controllers)
        self.replacement = Replacement(self.planning if replaces == "plan" else None)
        self.parts: LookaheadParts | None = None

    @classmethod
    def of(cls, parts: LookaheadParts) -> Self:
        """A lookahead over models as they are now; such a one can be saved."""
        made = cls(parts.lookout(), parts.planner(), parts.controllers.seeds, parts.replaces)
        made.parts = parts
        return made

    @property
    def looking(self) -> Lookahead:
        """Itself."""
        return self

    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """Look ahead, and judge by what is seen."""
        return self.judge(situation, proposed, self.look(situation, proposed))

    def opinion(self, situation: Situation, proposed: Any, look: Look) -> Choice:
        """Whether it would let an action pass, without a search for what to do in its place."""
        return "allow" if look.safe or self.searched(situation, proposed, look)[0] is not None else "block"

    def look(self, situation: Situation, proposed: Any) -> Look:
        """What would follow the proposed action."""
        return self.lookout.look(situation.tensor, situation.actions.encode(proposed), situation.blocked)

    def judge(self, situation: Situation, proposed: Any, look: Look, searched: Searched | None = None) -> Decision:
        """Let pass what looks safe, or what a plan still saves (searched for now, or before); else replace it."""
        if look.safe:
            return Decision.seen(look, proposed, proposed, "allow", "policy", way_out=look.tail()[1:])
        saved, spent = self.searched(situation, proposed, look) if searched is None else searched
        return self.replacement.choose(situation, proposed, look, spent) if saved is None else saved

    def instead_of(self, situation: Situation, proposed: Any) -> Decision:
        """What would be executed in place of a blocked action."""
        return self.replacement.choose(situation, proposed)

    def searched(self, situation: Situation, proposed: Any, look: Look) -> Searched:
        """An action after which the lookout found no way out, let pass where the planner finds one; seconds spent."""
        planning = self.planning
        asks = not look.safe and self.lookout.block_when == "no_plan" and self.lookout.horizon > 1
        if planning is None or not asks or look.cause == "danger":  # what the action itself brings no plan undoes
            return None, 0.0
        clock = planning.planner.clock
        began = clock()
        plan = planning.plan_after(situation, proposed, look.limit)
        if plan.feasible and bool(plan.actions.isfinite().all()):
            again = self.lookout.follow(situation.tensor, plan.actions, look)
            if again.safe:
                spent = 1e3 * (clock() - began)
                result = {"feasible": True, "plan_ms": spent, "plan": plan, "way_out": plan.actions[1:]}
                return Decision.seen(again, proposed, proposed, "allow", "policy", **result), 0.0
        return None, clock() - began


class _Accompanied(Intervention):
    """A lookahead and an overseer, both of whom may be heard."""

    def __init__(self, lookahead: Lookahead, overseer: Overseer, replacement: Replacement | None = None) -> None:
        self.lookahead, self.overseen = lookahead, Overseen(overseer, replacement)

    @property
    def needs_env(self) -> bool:
        """Whether the overseer looks into one environment."""
        return self.overseen.needs_env

    @property
    def alone(self) -> Intervention:
        """The lookahead."""
        return self.lookahead

    @property
    def looking(self) -> Lookahead:
        """The lookahead."""
        return self.lookahead


class Beside(_Accompanied):
    """An overseer decides; a lookahead beside them says what it would have decided, or nothing if it fails.

    Args:
        overseer: decides.
        lookahead: forms an opinion first.
    """

    def __init__(self, overseer: Overseer, lookahead: Lookahead) -> None:
        super().__init__(lookahead, overseer)

    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """Look ahead and keep it; ask the overseer."""
        own, risk = None, float("nan")
        try:
            look = self.lookahead.look(situation, proposed)
            own, risk = self.lookahead.opinion(situation, proposed, look), look.risk
        except Exception as problem:  # noqa: BLE001 - what only listens must not take the overseer's word away
            situation.faults.report(f"the guard beside the overseer failed ({type(problem).__name__}: {problem})")
        return replace(self.overseen.decide(situation, proposed), beside=own, beside_risk=risk)

    def instead_of(self, situation: Situation, proposed: Any) -> Decision:
        """What would be executed in place of a blocked action."""
        return self.overseen.instead_of(situation, proposed)


class AskWhenUnsure(_Accompanied):
    """Looks ahead, and asks the overseer where the look is unsure, where the guard is stuck, or by chance.

    Args:
        lookahead: judges what is sure.
        overseer: judges what is not.
        unsure: whether a look is.
        audited: whether an action is judged by the overseer all the same; None never.
        stuck: whether the guard has blocked for so long that it asks before it blocks once more; None never.
    """

    def __init__(
        self,
        lookahead: Lookahead,
        overseer: Overseer,
        unsure: Callable[[Look], bool],
        audited: Callable[[], bool] | None = None,
        stuck: Callable[[Situation], bool] | None = None,
    ) -> None:
        super().__init__(lookahead, overseer, lookahead.replacement)
        self.unsure = unsure
        self.audited, self.stuck = audited or (lambda: False), stuck or (lambda _: False)

    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """Look ahead; ask a person if unsure; let pass if safe; else plan; else the declared safe action."""
        look = self.lookahead.look(situation, proposed)
        because: Because = "chance" if self.audited() else "unsure" if self.unsure(look) else ""
        because = because or ("stuck" if self.stuck(situation) else "")
        if not because:
            return self.lookahead.judge(situation, proposed, look)
        searched = self.lookahead.searched(situation, proposed, look)
        own: Choice = "block" if searched[0] is None and not look.safe else "allow"
        if because == "stuck" and own == "allow":
            return self.lookahead.judge(situation, proposed, look, searched)
        asked = self.overseen.decide(situation, proposed, look)
        return replace(asked, because=because, beside=own, beside_risk=look.risk)

    def instead_of(self, situation: Situation, proposed: Any) -> Decision:
        """What would be executed in place of a blocked action."""
        return self.lookahead.instead_of(situation, proposed)


class _Around(Intervention):
    inner: Intervention

    @property
    def needs_env(self) -> bool:
        """Whether the inner one does."""
        return self.inner.needs_env

    @property
    def looking(self) -> Lookahead | None:
        """The inner one's."""
        return self.inner.looking


class FailClosed(_Around):
    """Another intervention, none of whose failures lets an action pass: each is a block.

    Args:
        inner: decides as long as it can.
    """

    def __init__(self, inner: Intervention) -> None:
        self.inner = inner

    @property
    def alone(self) -> Intervention:
        """The inner one's, failing closed."""
        return FailClosed(self.inner.alone)

    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """Let the inner one decide; block where it fails, where the state is unknown, and what is no action."""
        began = time.perf_counter()
        try:
            if not np.isfinite(situation.state).all():
                situation.faults.report("the environment gave an observation that is not finite: the action is blocked")
                decision = self._fallback(situation, proposed, "invalid")
            elif not situation.actions.valid(proposed):
                situation.faults.report("the policy proposed an action that is not finite or not in the space: blocked")
                decision = replace(self.inner.instead_of(situation, proposed), judged=False, cause="invalid")
            else:
                asked = copy.deepcopy(proposed)
                decision = self.inner.decide(situation, proposed)
                _check_decision(decision, situation, proposed, asked)
        except Stopped:  # a wish to stop while a person is waited for; nothing is executed
            raise
        except Exception as problem:  # noqa: BLE001 - whatever fails here, nothing may pass unjudged
            situation.faults.report(f"judging failed ({type(problem).__name__}: {problem}): the action is blocked")
            decision = self._fallback(situation, proposed, "fault")
        return replace(decision, latency_ms=1e3 * (time.perf_counter() - began))

    def instead_of(self, situation: Situation, proposed: Any) -> Decision:
        """The inner one's."""
        return self.inner.instead_of(situation, proposed)

    def _fallback(self, situation: Situation, proposed: Any, cause: Why) -> Decision:
        return Decision(proposed, situation.fallback(), "block", "fallback", judged=False, cause=cause)


class Shadow(_Around):
    """Records what another intervention decides, and executes what was proposed all the same, if it is an action.

    Args:
        inner: decides.
    """

    def __init__(self, inner: Intervention) -> None:
        self.inner = fail_closed(inner)

    @property
    def alone(self) -> Intervention:
        """What it records, without asking anybody."""
        return Shadow(self.inner.alone)

    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """The inner one's decision, not carried out."""
        inner = self.inner.decide(situation, proposed)
        return replace(inner, executed=proposed, demonstrated=False) if situation.actions.valid(proposed) else inner


def _check_decision(decision: Any, situation: Situation, proposed: Any, asked: Any) -> None:
    """Refuse what is no decision on the action that was asked about.

    Raises:
        ValueError: says what is wrong with it.
    """
    if not isinstance(decision, Decision):
        raise ValueError(f"{decision!r} is no decision")
    if not np.array_equal(proposed, asked):
        raise ValueError("the proposed action was changed while it was judged")
    if not situation.actions.valid(decision.executed):
        raise ValueError(f"{decision.executed!r} is to be executed, which is no action")
    if decision.decision == "allow" and not np.array_equal(decision.executed, proposed):
        raise ValueError("an action was let pass, and another one is to be executed")


def fail_closed(intervention: Intervention) -> Intervention:
    """The intervention, with every failure of it a block."""
    closed = type(intervention) in (Off, FailClosed, Shadow)  # what extends one of them may do anything
    return intervention if closed else FailClosed(intervention)


def check_mode(mode: str, where: str = "--mode") -> None:
    """Refuse what is no mode.

    Raises:
        HeedError: says which there are.
    """
    if mode not in MODES:
        raise HeedError(f"'{mode}' is no mode", where, f"take {', '.join(MODES)}")
