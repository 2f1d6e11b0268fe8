"""An alignment run as one declares it: what is trained, on which prompts, by which objectives, balanced how.

`start` makes the run folder and the trainer, `resume` finds both again from the folder alone, `train` runs to the end.
A run that ends before its first checkpoint leaves no folder: there would be nothing to go on from.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

from heed.align import distributed
from heed.align.advantages import check_groups
from heed.align.conditioning.tags import write_tag
from heed.align.config import AlignConfig
from heed.align.data.conversations import with_template_arguments
from heed.align.data.dataset import load_prompts
from heed.align.models.pretrained import load_tokenizer, quiet_transformers
from heed.align.objectives.base import Objective, ObjectiveSet
from heed.align.objectives.spec import parse_objective
from heed.align.run.apothecary import ApothecarySetup, PreparedApothecary, SetupProgress, prepare
from heed.align.run.job import AlignJob, check_source, complete, record_of, split_settings
from heed.align.trainer import AlignTrainer, OnStep
from heed.errors import HeedError, RunFailed, Stopped
from heed.runs.config import refuse_other_settings
from heed.runs.folder import RunFolder
from heed.worlds.apothecary import Apothecary


def start(
    job: AlignJob,
    config: AlignConfig,
    out: Path | None,
    prepared: PreparedApothecary | None = None,
    on_stage: SetupProgress | None = None,
) -> AlignTrainer:
    """Make the run folder and the trainer; where the trainer cannot be made, no folder is left.

    Args:
        job: what is trained.
        config: how.
        out: the run folder; None keeps nothing on disk.
        prepared: the world made ready, where the caller has it already.
        on_stage: follows the preparation of a world.
    """
    distributed.join()
    writes = out is not None and distributed.rank() == 0
    run = RunFolder.create(Path(out or ""), record_of(job, config), kind="align") if writes else None
    trainer = None
    try:
        trainer = _build(job, config, run, prepared, on_stage)
    finally:
        if trainer is None:
            _leave(run)
    return trainer


def resume(path: Path, wanted: dict[str, Any] | None = None) -> AlignTrainer:
    """Go on with a run from its newest checkpoint.

    Args:
        path: the run folder.
        wanted: settings that were asked for; they must be the run's own.

    Raises:
        HeedError: no run or no checkpoint there, or other settings than the run's.
    """
    distributed.join()
    run = RunFolder.open(path, writable=distributed.rank() == 0)
    try:
        return _resume(run, path, wanted or {})
    except HeedError:
        run.close()
        raise


def _resume(run: RunFolder, path: Path, wanted: dict[str, Any]) -> AlignTrainer:
    if run.kind != "align":
        raise HeedError(f"this is a run of kind {run.kind}", f"--resume {path}", "give one of kind align")
    refuse_other_settings(complete(run.config), wanted, f"--resume {path}")
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        raise HeedError("there is no checkpoint to go on from", str(path), "start the run anew")
    job, config = split_settings(run.config, str(path))
    trainer = _build(job, config, run if distributed.rank() == 0 else None, None, None)
    trainer.restore(checkpoint)
    return trainer


def train(trainer: AlignTrainer, on_step: OnStep | None = None) -> dict[str, Any]:
    """Train to the end, and let go of the run folder.

    Args:
        trainer: started or resumed.
        on_step: called after every round; may raise `Stopped`, and the run then keeps a checkpoint of that round.

    Returns:
        The run's summary.

    Raises:
        HeedError: an objective gave what no optimiser step may see; names the checkpoint that stands.
        RunFailed: a fault of the numbers, the memory or the disk; names the checkpoint that stands.
        Stopped: as ``on_step`` asked.
    """
    try:
        return trainer.train(on_step)
    except Stopped:
        trainer.checkpoint()
        raise
    except RunFailed as error:
        raise RunFailed(error.reason, error.checkpoint or trainer.journal.last_checkpoint()) from error
    except HeedError as error:
        kept = trainer.journal.last_checkpoint()
        stands = f"; the last checkpoint, {kept}, stands" if kept is not None else ""
        raise HeedError(error.what, error.where, error.fix + stands) from error
    except _faults() as error:
        first = next(iter(str(error).strip().splitlines()), "no reason was given")
        raise RunFailed(f"{type(error).__name__}: {first}", trainer.journal.last_checkpoint()) from error
    finally:
        _leave(trainer.journal.run)


def _faults() -> tuple[type[Exception], ...]:
    """What a round may raise that is nobody's mistake: CUDA's memory, a library, a solver (cvxpy's error is no kin)."""
    cvxpy = sys.modules.get("cvxpy.error")
    solver = () if cvxpy is None else (cvxpy.SolverError,)
    return (RuntimeError, ValueError, ArithmeticError, MemoryError, *solver)


def _leave(run: RunFolder | None) -> None:
    """Close a run folder, and remove it if nobody could go on with it."""
    if run is not None:
        nothing = run.latest_checkpoint() is None
        run.close()
        if nothing:
            shutil.rmtree(run.path)


def _build(
    job: AlignJob,
    config: AlignConfig,
    run: RunFolder | None,
    prepared: PreparedApothecary | None,
    on_stage: SetupProgress | None,
) -> AlignTrainer:
    check_source(job)
    world, eval_prompts, tokenizer = None, None, None
    held_out = [parse_objective(text, "--held-out-judges") for text in job.held_out_judges]
    if job.world is not None:
        world = Apothecary(job.world_seed, tuple(job.world_objectives))
        weighting = job.build_weighting(world.names, world)  # a mistake shows before minutes of preparation
        check_groups(weighting, config)
        preparation = ApothecarySetup(objectives=world.names, seed=job.world_seed, ensemble=job.ensemble)
        learns = job.rewards == "learnt" and job.judges is None
        prepared = prepared or prepare(preparation, judges=learns, on_stage=on_stage)
        if job.judges is not None:
            prepared = dataclasses.replace(prepared, judges=(Path(job.judges),))
        model: str | Path = prepared.policy
        objectives: list[Objective] = prepared.objectives(job.rewards, job.pessimism)
        dataset: Any = [{"prompt": prompt} for prompt in world.prompts]
        if run is not None:
            run.write_json("exact.json", world.front().to_record())
    else:
        dataset = load_prompts(str(job.data), split=job.split)
        if job.eval_data is not None:
            rows = load_prompts(job.eval_data)
            eval_prompts = list(rows.select(range(min(len(rows), config.eval_prompts))))
        model, objectives = str(job.model), [parse_objective(text) for text in job.objectives]
        weighting = job.build_weighting(ObjectiveSet(objectives).names)
        if job.template_arguments:
            tokenizer = with_template_arguments(load_tokenizer(model), job.template_arguments)
    with quiet_transformers():
        return AlignTrainer(
            model,
            objectives,
            weighting,
            dataset,
            config,
            tokenizer,
            peft_config=job.adapter(),
            run=run,
            gold=world,
            held_out=held_out,
            eval_prompts=eval_prompts,
            write=write_tag if world is None else world.write_tag,
        )
