"""heed align: fine-tune one policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed import report
from heed.align.run.job import split_settings
from heed.cli import error_line
from heed.cli.command import out_folder, refuse_both
from heed.cli.console import Bar, quiet_libraries, say, stopping_at_rounds
from heed.cli.settings import AlignCommand
from heed.errors import Stopped

if TYPE_CHECKING:
    from heed.align.trainer import AlignTrainer


def run(arguments: Sequence[str]) -> None:
    """Parse, train, report."""
    quiet_libraries()
    command = AlignCommand("align", "Fine-tune a language model to several objectives at once.")
    command.add("--dry-run", action="store_true", help="look at everything, try one step, and train nothing")
    parsed, settings, asked = command.settings(arguments)
    if parsed.dry_run:
        refuse_both(command.given, "dry_run", "resume")
        _rehearse(settings)
        return

    from heed.align import distributed  # what works is imported once it is asked for, so that --help answers at once
    from heed.align.run.train import resume, start

    if parsed.resume is not None:
        trainer, out = resume(Path(parsed.resume), asked), Path(parsed.resume)
    else:
        out = out_folder(parsed.out, "align")
        job, config = split_settings(settings)
        with Bar("preparing") as bar:
            trainer = start(job, config, out, on_stage=bar.show)
    _train(trainer, out)
    distributed.leave()


def _rehearse(settings: dict[str, Any]) -> None:
    """A dry run; each thing that is missing is one line."""
    from heed.align.dry_run.rehearsal import rehearse

    faults = rehearse(*split_settings(settings), show=print)
    for fault in faults:
        error_line(str(fault))
    if faults:
        raise SystemExit(2)


def _train(trainer: AlignTrainer, out: Path) -> None:
    """Train with a bar; Ctrl-C keeps a checkpoint. Of several processes the first one tells."""
    from heed.align import distributed
    from heed.align.run.train import train

    names, tells = trainer.objectives.names, distributed.rank() == 0
    with stopping_at_rounds() as wanted, Bar("align") as bar:

        def show(step: int, metrics: dict[str, float]) -> None:
            if tells:
                found = "  ".join(f"{name} {metrics[f'rewards/{name}/mean']:.2f}" for name in names)
                bar.show("align", step, trainer.config.steps, found)
            if distributed.any_process(bool(wanted)) and step < trainer.config.steps:
                raise Stopped

        try:
            summary = train(trainer, show)
        except Stopped:
            if tells:
                say(f"stopped at round {trainer.step}; go on with: heed align --resume {out}")
            raise SystemExit(130) from None
    if not tells:
        return
    page = report.write_report(out)
    for name, values in summary["objectives"].items():
        exact = values["gold"] if values["gold"] is not None else values["proxy"]
        say(f"{name}: {_figure(values['start'])} -> {_figure(exact)}")
    for point in summary.get("along", ()):
        told = ",".join(f"{weight:g}" for weight in point["preference"])
        say(f"at {told}: " + "  ".join(f"{name} {value:.3f}" for name, value in point["values"].items()))
    say(f"adapter: {out / 'checkpoints' / f'step-{trainer.step}'}")
    print(page)


def _figure(value: float | None) -> str:
    return "not evaluated" if value is None else f"{value:.3f}"
