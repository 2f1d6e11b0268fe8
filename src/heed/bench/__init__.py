"""Measurements behind the claims, each against a peer or a limit, in one run and on one machine.

| `heed bench` | measures | against |
|---|---|---|
| `gradients` | K gradients by every path of `heed.balance` | one scalarised step, K backwards, torchjd's `jac` |
| `step` | a whole step of `heed.align`, for several K | TRL's GRPO, where it is installed; one matrix product |
| `generate` | tokens a second by every sampler of `heed.align` | transformers' `generate`; weights read once |
| `min-norm` | the weights of K objectives | torchjd's MGDA, and the optimum's conditions |
| `plan` | a look ahead and a plan | the milliseconds that a control loop has |
| `coverage` | blocks that a conformal threshold misses, over random splits | the share that it promises |
| `proposals` | a frozen policy's proposals that a finished guard lets pass or blocks | the exact doomed states |
| `kills` | acknowledged judgements after servers were killed | none lost, doubled or altered |
| `startup` | help, refusals and a small query, from Enter to the prompt | Python, nothing imported |
| `oversight` | a key until its judgement is on disk, a proposal until it is shown | a person's reaction |
"""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.bench.coverage import coverage_table, run_coverage_bench
    from heed.bench.generate import generate_table, run_generate_bench
    from heed.bench.gradients import gradient_table, run_gradient_bench
    from heed.bench.min_norm import min_norm_table, run_min_norm_bench
    from heed.bench.options import (
        CoverageBench,
        GenerateBench,
        GradientBench,
        KillBench,
        MinNormBench,
        OversightBench,
        PlanBench,
        ProposalsBench,
        StartupBench,
        StepBench,
    )
    from heed.bench.pages.kills import kept, kill_table, run_kill_bench
    from heed.bench.pages.oversight import oversight_table, run_oversight_bench
    from heed.bench.plan import plan_table, run_plan_bench
    from heed.bench.proposals import proposals_table, run_proposals_bench
    from heed.bench.startup import run_startup_bench, startup_table
    from heed.bench.step import run_step_bench, step_table

__all__ = [
    "CoverageBench",
    "GenerateBench",
    "GradientBench",
    "KillBench",
    "MinNormBench",
    "OversightBench",
    "PlanBench",
    "ProposalsBench",
    "StartupBench",
    "StepBench",
    "coverage_table",
    "generate_table",
    "gradient_table",
    "kept",
    "kill_table",
    "min_norm_table",
    "oversight_table",
    "plan_table",
    "proposals_table",
    "run_coverage_bench",
    "run_generate_bench",
    "run_gradient_bench",
    "run_kill_bench",
    "run_min_norm_bench",
    "run_oversight_bench",
    "run_plan_bench",
    "run_proposals_bench",
    "run_startup_bench",
    "run_step_bench",
    "startup_table",
    "step_table",
]

__getattr__ = on_demand(
    __name__,
    {
        "coverage": ["coverage_table", "run_coverage_bench"],
        "generate": ["generate_table", "run_generate_bench"],
        "gradients": ["gradient_table", "run_gradient_bench"],
        "pages.kills": ["kept", "kill_table", "run_kill_bench"],
        "options": [
            *("CoverageBench", "GenerateBench", "GradientBench", "KillBench", "MinNormBench", "OversightBench"),
            *("PlanBench", "ProposalsBench", "StartupBench", "StepBench"),
        ],
        "min_norm": ["min_norm_table", "run_min_norm_bench"],
        "pages.oversight": ["oversight_table", "run_oversight_bench"],
        "plan": ["plan_table", "run_plan_bench"],
        "proposals": ["proposals_table", "run_proposals_bench"],
        "startup": ["run_startup_bench", "startup_table"],
        "step": ["run_step_bench", "step_table"],
    },
)
