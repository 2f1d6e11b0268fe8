"""How the models of a guard are fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from heed.errors import HeedError
from heed.runs.bounds import COUNT, SHARE, WHOLE, Bounds, check_bounds

BOUNDS = {
    "members": COUNT, "dynamics_hidden": COUNT, "eps": Bounds(0, 1, open_below=True, open_above=True), "cap": SHARE,
    "range_margin": WHOLE,
}  # fmt: skip

TerminationChoice = Literal["auto", "given", "learnt", "none"]
"""Who says which states end an imagined future harmlessly."""


@dataclass(frozen=True)
class BatchConfig:
    """How an ensemble learns: Adam on batches, its learning rate falling to 0 along a cosine over the updates.

    Args:
        updates: batches learnt from, of a `FitConfig` at most; not epochs, so that the time it takes does not grow with
            the data.
        batch_size: rows of each member in one update.
        learning_rate: of Adam, at the start.
        weight_decay: L2 on the weights, not on biases.
        bootstrap: each member learns from its own draw of the rows, with replacement; else all from all rows.

    Raises:
        HeedError: a number outside its range.
    """

    updates: int = 2000
    batch_size: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-5
    bootstrap: bool = True

    def __post_init__(self) -> None:
        if min(self.updates, self.batch_size) < 1:
            raise HeedError(f"{self}", type(self).__name__, "updates and batch_size are at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise HeedError(f"{self}", type(self).__name__, "give a positive learning_rate and no negative number")


@dataclass(frozen=True)
class FitConfig(BatchConfig):
    """The same until no member gets better: each one's best held-out weights are kept.

    Args:
        held_out: share of the rows that no member learns from.
        check_every: updates between two looks at the held-out rows.
        patience: looks without a member that got better, after which the fit ends.
        improvement: what counts as better for the patience, in nats of the mean held-out loss.

    Raises:
        HeedError: a number outside its range.
    """

    held_out: float = 0.15
    check_every: int = 50
    patience: int = 8
    improvement: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.check_every, self.patience) < 1:
            raise HeedError(f"{self}", "FitConfig", "check_every and patience are at least 1")
        if not 0 < self.held_out < 1:
            raise HeedError(f"held_out is {self.held_out}", "FitConfig", "give a share between 0 and 1")
        if self.improvement < 0:
            raise HeedError(f"{self}", "FitConfig", "give no negative improvement")


BLOCKERS_FIT = BatchConfig(updates=2000, learning_rate=1e-2, weight_decay=1e-4)
"""How blockers are fitted unless told otherwise: they are small, and labels are few. All updates are made: the rows
that a member does not learn from are for calibration alone, so that nothing may be chosen by them."""


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
            raise HeedError(f"the label keys are {list(keys)}", "--label-keys", fix)
