"""When who judges, as one declares it."""

from __future__ import annotations

from dataclasses import dataclass

from heed.runs.bounds import COUNT, SHARE, WHOLE, check_bounds

BOUNDS = {
    "oversight_steps": WHOLE, "refit_every": COUNT, "most_judgements": WHOLE, "least_blocks": WHOLE, "gate": SHARE,
    "needless": SHARE, "audit": SHARE, "ask_above": WHOLE, "ask_after": WHOLE, "grace": WHOLE,
}  # fmt: skip


@dataclass(frozen=True)
class PhasesConfig:
    """When who judges.

    Args:
        oversight_steps: steps that the overseer judges; after half of them the models are fitted for the first time,
            and the guard forms an opinion beside the overseer, on which the hand-over is decided.
        refit_every: steps of autonomy between refits.
        refit_on_catastrophe: refit also at once after a catastrophe in autonomy.
        most_judgements: the overseer's budget; 0 is no bound.
        least_blocks: blocks without which nothing is fitted.
        gate: share of the overseer's blocks that the guard may miss, with 95% confidence (`Agreement`); 1 is no bound.
        needless: share of the actions let pass that it may block without cause, with 95% confidence; 1 is no bound.
        audit: share of the steps of autonomy that the overseer judges all the same, drawn by chance, so that the misses
            in autonomy are known without bias.
        ask_above: disagreement of the blockers about any step of a look (standard deviation of their probabilities)
            from which the overseer is asked in autonomy; above .5, the largest there is, nobody is asked.
        ask_after: blocks on end, in lengths of its look, after which the guard asks before each further one until the
            overseer confirms one, so that it does not freeze where it has learnt nothing. It asks those alone who block
            in time: one who blocks at the last moment lets pass what is lost already, but what came to no harm in so
            many blocks is learnt from at once. 0 never asks.
        grace: steps after which a step that nobody judged has survived, so that it can count as one that needed no
            block (`ModelsConfig.survival`); 0 remembers none, None is 1.
        background: fit the models in a thread beside the run, so that no decision waits for it; a run does not repeat
            to the last bit then. None does so under ``heed oversee``, where a person would wait.
    """

    oversight_steps: int = 3000
    refit_every: int = 1000
    refit_on_catastrophe: bool = True
    most_judgements: int = 0
    least_blocks: int = 5
    gate: float = 0.35
    needless: float = 0.15
    audit: float = 0.01
    ask_above: float = 1.0
    ask_after: float = 1.0
    grace: int | None = None
    background: bool | None = None

    @property
    def survives_after(self) -> int:
        """Steps after which a step has survived."""
        return 1 if self.grace is None else self.grace

    def check(self) -> None:
        """Refuse a number that nothing could follow.

        Raises:
            HeedError: names the option.
        """
        check_bounds(self, BOUNDS)
