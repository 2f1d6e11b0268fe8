"""What a guard decided on one proposed action, and the step that followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heed.guard.planning.lookahead import Look
from heed.guard.planning.planner import Plan
from heed.oversight.overseers.base import Verdict

Choice = Literal["allow", "block"]
Why = Literal["", "danger", "no way out", "unknown", "person", "invalid", "fault"]
"""Why an action was blocked: see `Decision.cause`."""
Because = Literal["", "chance", "unsure", "stuck"]
"""Why an overseer was asked who is not asked of every action: see `Decision.because`."""
Source = Literal["policy", "person", "blocker", "planner", "recovery", "fallback"]

_UNTOLD = ("look", "plan", "verdict", "way_out")
"""Fields that observers see and ``info["guard"]`` does not hold."""
_CHANCE = ("latency_ms", "plan_ms", "key")
"""Fields that a clock or chance makes."""


@dataclass(frozen=True)
class Decision:
    """One step's decision; ``info["guard"]`` holds its fields by name, but for look, plan, verdict and way out.

    Args:
        proposed: the learner's action, as the environment takes it.
        executed: the action that was taken.
        decision: allow or block.
        source: who chose the executed action: the policy (allowed), a person (who gave one), the blocker (blocked, the
            declared safe action taken), the planner, a recovery policy, or the fallback (nothing safe was found, or
            something failed).
        risk: of the proposed action, in [0, 1]; NaN where nobody looked.
        member_risk: the same by each member of the dynamics, empty where nobody looked.
        first_unsafe: the policy's first unsafe step, from 0, or None.
        cause: why it was blocked, "" where it was not: danger (the very next step is, as the models see it), no way out
            (danger follows, whatever is done next), unknown (the futures lead where the models know nothing), person
            (an overseer said so), invalid (it is no action, or no known state), fault (what should have judged
            failed).
        unknown_parts: numbers of the parts of the state that are unknown, where that is the cause.
        beside: what the guard by itself would have decided, where a person decided and it looked as well; else None.
        beside_risk: what it took the risk for then; NaN where it did not look.
        because: why the overseer was asked, where not every action is judged by them: chance (an audit), unsure (the
            models disagree), stuck (the guard blocks on and on); "" elsewhere.
        judged: whether anybody or anything did; not where what should have judged failed, which blocks and teaches
            nothing, nor where a person acted in the agent's place, or blocked what they had hardly in view.
        demonstrated: whether what was executed is an action of the overseer's own, meant for this state: they acted in
            the agent's place with a key down, or gave an action with a block. What nobody shows is what a planner found
            in place of a blocked action, or who took over and pressed nothing.
        feasible: whether the planner's plan was below the threshold; None without a plan. Where the
            action was allowed, the plan begins with it and is why.
        latency_ms: from the proposal to the decision, milliseconds.
        plan_ms: of that in the planner, 0 where it was not asked.
        verdict: the overseer's; None where nobody was asked.
        look: what the guard saw; None where nobody looked.
        plan: what the planner found; None without a plan.
        way_out: actions that are safe from the next step on, [n, A]; None where none became known.
    """

    proposed: Any
    executed: Any
    decision: Choice
    source: Source
    risk: float = float("nan")
    member_risk: tuple[float, ...] = ()
    first_unsafe: int | None = None
    cause: Why = ""
    unknown_parts: tuple[int, ...] = ()
    beside: Choice | None = None
    beside_risk: float = float("nan")
    because: Because = ""
    judged: bool = True
    demonstrated: bool = False
    feasible: bool | None = None
    latency_ms: float = 0.0
    plan_ms: float = 0.0
    verdict: Verdict | None = field(default=None, repr=False, compare=False)
    look: Look | None = field(default=None, repr=False, compare=False)
    plan: Plan | None = field(default=None, repr=False, compare=False)
    way_out: Tensor | None = field(default=None, repr=False, compare=False)

    @classmethod
    def seen(
        cls, look: Look | None, proposed: Any, executed: Any, decision: Choice, source: Source, **fields: Any
    ) -> Decision:
        """A decision with what a look showed, if there was one."""
        if look is not None:
            risks = tuple(float(risk) for risk in look.member_risk)
            fields |= {"risk": look.risk, "member_risk": risks, "first_unsafe": look.first_unsafe, "look": look}
            if decision == "block":
                fields = {"cause": look.cause, "unknown_parts": look.unknown} | fields
        return cls(proposed, executed, decision, source, **fields)

    @property
    def asked(self) -> bool:
        """Whether an overseer judged the action."""
        return self.verdict is not None and self.verdict.is_label

    @property
    def glimpsed(self) -> bool:
        """Whether a person blocked what they had hardly in view: it says nothing of this action."""
        return self.verdict is not None and self.verdict.glimpsed

    @property
    def contradicted(self) -> bool:
        """Whether an overseer let pass what the guard would have blocked."""
        return self.asked and self.decision == "allow" and self.beside == "block"

    @property
    def key(self) -> str:
        """Of the overseer's judgement, by which it can be retracted; "" where there is none."""
        return "" if self.verdict is None or self.verdict.failed else self.verdict.key

    @property
    def credit(self) -> int:
        """Steps before this one that a person's block is about as well."""
        given = () if self.verdict is None else self.verdict.all
        return max((each.credit for each in given if each.block and not each.failed), default=0)

    @property
    def catastrophe_reported(self) -> bool:
        """Whether a person reported the state before this step as a catastrophe."""
        return self.verdict is not None and not self.verdict.failed and self.verdict.catastrophe

    def info(self) -> dict[str, Any]:
        """The decision as plain fields by name, those of the verdict among them."""
        fields = {name: value for name, value in vars(self).items() if name not in _UNTOLD}
        return fields | {
            "asked": self.asked,
            "key": self.key,
            "credit": self.credit,
            "catastrophe_reported": self.catastrophe_reported,
        }


class DecisionInfo(Mapping[str, Any]):
    """A decision's fields by name; two are equal if they tell of the same decision, however long each took.

    Gymnasium's `check_env` asks of an environment that what it says is the same from the same seed, which no clock is.

    Args:
        fields: by name.

    >>> told = [DecisionInfo(Decision(0, 0, "allow", "policy", latency_ms=took).info()) for took in (1.0, 2.0)]
    >>> told[0] == told[1], told[0]["latency_ms"], told[0] == DecisionInfo(Decision(0, 1, "block", "planner").info())
    (True, 1.0, False)
    """

    __hash__ = None  # type: ignore[assignment] # actions are arrays

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return repr(self._fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DecisionInfo) or self.keys() != other.keys():
            return NotImplemented
        return all(_same(value, other[name]) for name, value in self.items() if name not in _CHANCE)


def _same(one: Any, other: Any) -> bool:
    """Whether two fields say the same; what nobody measured (NaN) does."""
    unmeasured = isinstance(one, float) and isinstance(other, float) and one != one and other != other
    return unmeasured or np.array_equal(one, other)


@dataclass(frozen=True, eq=False)
class Step:
    """One step as the guard's observer sees it.

    Args:
        state: before it, [S].
        proposed: the learner's action as a vector [A]; None where it was no action.
        executed: the action taken, as a vector [A].
        decision: the guard's.
        next_state: after it, [S].
        reward: the environment's own.
        terminated: the episode ended by the world's rule.
        truncated: the episode was cut off.
        catastrophe: what ``info["catastrophe"]`` says, false where it says nothing.
        info: all of it.
        stream: number of the environment, where there are several.
        episode: the number of the episode, which no other of any environment has.
        timestep: steps taken in it, this one included.
        observation: the environment's own, after the step.
    """

    state: NDArray[np.float32]
    proposed: NDArray[np.float32] | None
    executed: NDArray[np.float32]
    decision: Decision
    next_state: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool
    catastrophe: bool
    info: dict[str, Any]
    stream: int = 0
    episode: int = 0
    timestep: int = 0
    observation: Any = None

    @property
    def catastrophe_reported(self) -> bool:
        """Whether the environment says that the step was a catastrophe, or a person that its first state is one."""
        return self.catastrophe or self.decision.catastrophe_reported

    def bare(self) -> Step:
        """The step in plain numbers alone, to be kept: without what was imagined, said, or is the environment's own."""
        decision = replace(
            self.decision, proposed=self.decision.executed, look=None, plan=None, verdict=None, way_out=None
        )
        return replace(self, decision=decision, info={}, observation=None)
