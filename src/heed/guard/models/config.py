"""How the models of a guard are fitted."""

from __future__ import annotations

from dataclasses import dataclass, field

from heed.errors import HeedError
from heed.guard.models.blockers import BLOCKERS_FIT
from heed.guard.models.ensemble import BatchConfig, FitConfig
from heed.guard.models.termination import TerminationChoice
from heed.runs.bounds import COUNT, SHARE, WHOLE, Bounds, check_bounds

BOUNDS = {
    "members": COUNT, "dynamics_hidden": COUNT, "eps": Bounds(0, 1, open_below=True, open_above=True), "cap": SHARE,
    "range_margin": WHOLE,
}  # fmt: skip


@dataclass(frozen=True)
class ModelsConfig:
    """How the models are fitted.

    Args:
        members: E of the dynamics and M of the blockers.
        dynamics_hidden: units of each of the dynamics' two hidden layers.
        inputs: what blockers judge: next_state, state or state_action; None takes what the overseer judges.
        label_keys: indices of the state that the labels depend on; None learns which (`relevant_columns`).
        relevance: whether that is learnt where label_keys says nothing; else all count.
        survival: whether steps that nobody judged and that came to no harm count as let pass; None finds out from the
            labels whether the overseer blocks at the last moment, which is when they do (`survivors_agree`).
        threshold: conformal, or hirl: more than half, two of the members.
        eps: miss rate that the conformal threshold promises.
        cap: share of the steps let pass that blockers may flag before more misses than eps are allowed
            (`CalibratedBlockers.threshold`), as members tell it that have not seen them. Half of it may be flagged for
            the sake of a catastrophe (`accept_refit`).
        range_margin: how far beyond the states seen the most alarmed blocker is believed, in widths of what was seen;
            further out everything is dangerous.
        termination: which states end an imagined future harmlessly: given (the environment is known to), learnt (from
            the ends that happened) or none; auto takes what is given, and learns where nothing is.
        beyond: whether states where every way leads into danger later than the horizon are learnt (`SafetyValue`).
        dynamics: the dynamics' fit.
        blockers: the blockers' fit.
    """

    members: int = 5
    dynamics_hidden: int = 200
    inputs: str | None = None
    label_keys: tuple[int, ...] | None = None
    relevance: bool = True
    survival: bool | None = None
    threshold: str = "conformal"
    eps: float = 0.1
    cap: float = 0.1
    range_margin: float = 1.0
    termination: TerminationChoice = "auto"
    beyond: bool = False
    dynamics: FitConfig = field(default_factory=FitConfig)
    blockers: BatchConfig = BLOCKERS_FIT

    def check(self, state_size: int | None = None) -> None:
        """Refuse what nothing could follow.

        Args:
            state_size: S, which bounds the label keys; None where it is not known yet.

        Raises:
            HeedError: names the option.
        """
        check_bounds(self, BOUNDS)
        if self.threshold not in ("conformal", "hirl"):
            raise HeedError(f"'{self.threshold}' sets no threshold", "--threshold", "take conformal or hirl")
        if self.inputs not in (None, "next_state", "state", "state_action"):
            fix = "take next_state, state or state_action"
            raise HeedError(f"blockers cannot judge '{self.inputs}'", "--inputs", fix)
        keys = self.label_keys
        if keys is None:
            return
        there = max(keys, default=0) + 1 if state_size is None else state_size
        if not keys or len(set(keys)) < len(keys) or not set(keys) <= set(range(there)):
            fix = "give different parts of the state" + ("" if state_size is None else f", from 0 to {state_size - 1}")
            raise HeedError(f"the label keys are {list(keys)}", "--label_keys", fix)
