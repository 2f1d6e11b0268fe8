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
| `oversight` | a key until its judgement is on disk, a proposal until it is shown | a person's reaction |
"""

from typing import TYPE_CHECKING

from heed.runs.on_demand import on_demand

if TYPE_CHECKING:
    from heed.bench.coverage import CoverageBench, coverage_table, run_coverage_bench
    from heed.bench.generate import GenerateBench, generate_table, run_generate_bench
    from heed.bench.gradients import GradientBench, gradient_table, run_gradient_bench
    from heed.bench.kills import KillBench, kill_table, run_kill_bench
    from heed.bench.min_norm import MinNormBench, min_norm_table, run_min_norm_bench
    from heed.bench.oversight import OversightBench, oversight_table, run_oversight_bench
    from heed.bench.plan import PlanBench, plan_table, run_plan_bench
    from heed.bench.proposals import ProposalsBench, proposals_table, run_proposals_bench
    from heed.bench.step import StepBench, run_step_bench, step_table

__all__ = [
    "CoverageBench",
    "GenerateBench",
    "GradientBench",
    "KillBench",
    "MinNormBench",
    "OversightBench",
    "PlanBench",
    "ProposalsBench",
    "StepBench",
    "coverage_table",
    "generate_table",
    "gradient_table",
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
    "run_step_bench",
    "step_table",
]

__getattr__ = on_demand(
    __name__,
    {
        "coverage": ["CoverageBench", "coverage_table", "run_coverage_bench"],
        "generate": ["GenerateBench", "generate_table", "run_generate_bench"],
        "gradients": ["GradientBench", "gradient_table", "run_gradient_bench"],
        "kills": ["KillBench", "kill_table", "run_kill_bench"],
        "min_norm": ["MinNormBench", "min_norm_table", "run_min_norm_bench"],
        "oversight": ["OversightBench", "oversight_table", "run_oversight_bench"],
        "plan": ["PlanBench", "plan_table", "run_plan_bench"],
        "proposals": ["ProposalsBench", "proposals_table", "run_proposals_bench"],
        "step": ["StepBench", "run_step_bench", "step_table"],
    },
)
