"""What each benchmark is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heed.errors import HeedError, flag_of

GROUP = 8
"""Completions of each prompt of a step, TRL's default."""


@dataclass(frozen=True)
class GradientBench:
    """Options of ``heed bench gradients``.

    Args:
        device: "cpu" or "cuda".
        shape: "tiny", "2m", "30m", "60m", "1.1b" or "mistral-7b".
        k: numbers of objectives, each at least 2.
        repeats: rounds; each times every method once, in a shuffled order.
        checkpointing: gradient checkpointing "off", "on" or "both".
        seed: of weights, tokens, advantages and orders.
        tokens: length of each sequence; 0 takes the shape's.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    shape: str = "60m"
    k: tuple[int, ...] = (2, 4, 8)
    repeats: int = 7
    checkpointing: Literal["both", "off", "on"] = "both"
    seed: int = 0
    tokens: int = 0

    def check(self) -> None:
        """Raise `HeedError` where an option cannot be had."""
        from heed.bench.shapes import check_device  # who asks for --help waits for no torch

        check_device(self.device, self.shape)
        if not self.k or min(self.k) < 2:
            raise HeedError("several gradients are at least 2", "--k", "give numbers from 2, as in 2,4,8")
        if self.tokens < 0 or self.tokens == 1:
            what = f"nothing can be learnt from sequences of {self.tokens} tokens"
            raise HeedError(what, "--tokens", "give at least 2, or 0 for the shape's")
        if self.repeats < 1:
            raise HeedError(f"{self.repeats} repeats measure nothing", "--repeats", "give at least 1")
        if self.checkpointing not in ("both", "off", "on"):
            raise HeedError(f"checkpointing is '{self.checkpointing}'", "--checkpointing", "choose both, off or on")


@dataclass(frozen=True)
class StepBench:
    """Options of ``heed bench step``.

    Args:
        device: cpu or cuda.
        shape: tiny, 2m, 30m, 60m, 1.1b or mistral-7b (random weights).
        k: numbers of objectives.
        completions: completions of a step, eight of each prompt.
        tokens: tokens of each completion.
        repeats: rounds; each times every trainer once, in a shuffled order.
        advantage: heed's: group, as TRL's, or gae with a critic for each objective.
        peer: trl, where that is installed, or none.
        seed: of weights, prompts, tokens and orders.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    shape: str = "2m"
    k: tuple[int, ...] = (1, 2, 4, 8)
    completions: int = 64
    tokens: int = 32
    repeats: int = 5
    advantage: Literal["group", "gae"] = "group"
    peer: Literal["trl", "none"] = "trl"
    seed: int = 0

    def check(self) -> None:
        """Raise `HeedError` where an option cannot be had."""
        from heed.bench.shapes import check_device  # who asks for --help waits for no torch

        check_device(self.device, self.shape)
        if not self.k or min(self.k) < 1 or len(set(self.k)) < len(self.k):
            raise HeedError("numbers of objectives are different and at least 1", "--k", "write 1,2,4,8")
        if self.completions < GROUP or self.completions % GROUP:
            what = f"{self.completions} completions do not divide into groups of {GROUP}"
            raise HeedError(what, "--completions", f"give a multiple of {GROUP}")
        for name in ("tokens", "repeats"):
            if getattr(self, name) < 1:
                raise HeedError(f"{getattr(self, name)} {name} measure nothing", flag_of(name), "give at least 1")


@dataclass(frozen=True)
class GenerateBench:
    """Options of ``heed bench generate``.

    Args:
        device: cpu or cuda.
        shape: tiny, 2m, 30m, 60m, 1.1b or mistral-7b (random weights).
        batches: numbers of completions that are drawn at once.
        tokens: tokens of each completion, at least 2.
        repeats: rounds; each times every sampler once, in a shuffled order.
        seed: of weights, prompts, tokens and orders.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    shape: str = "2m"
    batches: tuple[int, ...] = (1, 8, 64)
    tokens: int = 32
    repeats: int = 5
    seed: int = 0

    def check(self) -> None:
        """Raise `HeedError` where an option cannot be had."""
        from heed.bench.shapes import check_device  # who asks for --help waits for no torch

        check_device(self.device, self.shape)
        if not self.batches or min(self.batches) < 1:
            raise HeedError("numbers of completions are at least 1", "--batches", "write 1,8,64")
        if self.tokens < 2:
            what = f"a decode step cannot be told from the prompt's by {self.tokens} tokens"
            raise HeedError(what, "--tokens", "give at least 2")
        if self.repeats < 1:
            raise HeedError(f"{self.repeats} repeats measure nothing", "--repeats", "give at least 1")


@dataclass(frozen=True)
class MinNormBench:
    """What is measured.

    Args:
        k: numbers of objectives.
        repeats: Gram matrices of each kind.
        seed: of the gradients and of the order.
    """

    k: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    repeats: int = 20
    seed: int = 0


@dataclass(frozen=True)
class PlanBench:
    """What is measured.

    Args:
        members: of the dynamics and of the blockers.
        particles: of each member, in a look; a plan takes one.
        hidden: units of each of the dynamics' two hidden layers.
        look_horizon: steps of a look.
        plan_horizon: steps of a plan.
        samples: plans of every iteration.
        iterations: of a plan's search.
        repeats: of each.
        threads: that torch may use.
        seed: of weights and order.
    """

    members: int = 5
    particles: int = 4
    hidden: int = 200
    look_horizon: int = 15
    plan_horizon: int = 12
    samples: int = 64
    iterations: int = 3
    repeats: int = 50
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True)
class CoverageBench:
    """What is measured.

    Args:
        splits: random splits of the episodes: half to fit and calibrate, half to judge by.
        episodes: of random actions, each with an overseer's verdict at every step.
        overseer: local or far-sighted.
        env: a world whose oracle can judge so.
        eps: miss rates to promise.
        updates: of the blockers' fit at most.
        seed: of everything.
    """

    splits: int = 200
    episodes: int = 200
    overseer: str = "local"
    env: str = "heed/PointHazard-v0"
    eps: tuple[float, ...] = (0.05, 0.1, 0.2)
    updates: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class ProposalsBench:
    """What is measured.

    Args:
        run: folder of a finished guarded run, in a world whose oracle knows its motion and its doomed states.
        proposals: of the frozen policy, one a step of an unguarded run.
        policy_steps: for which that policy was trained before, unguarded, with the learner's defaults; one that is
            trained for long proposes nothing dangerous, and tells nothing.
        seed: of its training and its exploration.
        frozen: a .npz file that keeps the proposals, to ask several guards the same at once's price; it is made if it
            is not there. "" keeps them nowhere.
    """

    run: str
    proposals: int = 10_000
    policy_steps: int = 1_500
    seed: int = 0
    frozen: str = ""


@dataclass(frozen=True)
class KillBench:
    """What is measured.

    Args:
        kills: of each page's server.
        page: compare, watch or both.
        store: a URL of an empty store; a new SQLite file if there is none.
        seed: of the judgements, and of the times of the kills.
        span: seconds over which the kills are spread, beside those until a server first acknowledges something.
    """

    kills: int = 1000
    page: str = "both"
    store: str | None = None
    seed: int = 0
    span: float = 1.0


@dataclass(frozen=True)
class OversightBench:
    """What is measured.

    Args:
        env: what the agent trains in; drawn, as for people.
        pages: numbers of pages that watch at once, commas between; one of them blocks, now and then.
        seconds: for each of these numbers.
        presses: of the block key in a second.
        chromium: the program, for a page in a real browser that blocks; "" has all pages spoken for over their sockets
            by a program, which decodes the frames.
        seed: of the agent and of the times of the keys.
    """

    env: str = "heed/PointHazard-v0"
    pages: str = "1,20"
    seconds: float = 60.0
    presses: float = 2.0
    chromium: str = ""
    seed: int = 0


@dataclass(frozen=True)
class StartupBench:
    """What is measured.

    Args:
        repeats: rounds; each times every command once, in a shuffled order.
        seed: of the orders.
    """

    repeats: int = 5
    seed: int = 0
