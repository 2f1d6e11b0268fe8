"""heed align: fine-tune one policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed.align.job import resume, split_settings, start, survive
from heed.align.trainer import AlignTrainer
from heed.cli.console import Bar, Stopped, console, quiet_libraries, stopping_at_rounds
from heed.cli.settings import AlignCommand, out_folder
from heed.errors import RunFailed
from heed.report import write_report


def run(arguments: Sequence[str]) -> None:
    """Parse, train, report."""
    quiet_libraries()
    command = AlignCommand("align", "Fine-tune a language model to several objectives at once.")
    parsed, settings, asked = command.settings(arguments)
    if parsed.resume is not None:
        trainer, out = resume(Path(parsed.resume), asked), Path(parsed.resume)
    else:
        out = out_folder(parsed.out, "align")
        job, config = split_settings(settings)
        with Bar("preparing") as bar:
            trainer = start(job, config, out, on_stage=bar.show)
    train(trainer, out)


def train(trainer: AlignTrainer, out: Path) -> None:
    """Train with a bar; Ctrl-C keeps a checkpoint."""
    names = trainer.objectives.names
    with stopping_at_rounds() as wanted, Bar("align") as bar:

        def show(step: int, metrics: dict[str, float]) -> None:
            found = "  ".join(f"{name} {metrics[f'rewards/{name}/mean']:.2f}" for name in names)
            bar.show("align", step, trainer.config.steps, found)
            if wanted:
                raise Stopped

        try:
            summary = trainer.train(show)
        except Stopped:
            trainer.checkpoint()
            console.print(f"stopped at round {trainer.step}; go on with: heed align --resume {out}")
            raise SystemExit(130) from None
        except RunFailed as error:
            raise survive(error, trainer) from error
    page = write_report(out)
    for name, values in summary["objectives"].items():
        exact = values["gold"] if values["gold"] is not None else values["proxy"]
        console.print(f"{name}: {_figure(values['start'])} -> {_figure(exact)}")
    console.print(f"adapter: {out / 'checkpoints' / f'step-{trainer.step}'}")
    print(page)


def _figure(value: float | None) -> str:
    return "not evaluated" if value is None else f"{value:.3f}"
