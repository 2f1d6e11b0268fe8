"""Load what was trained into a process of its own: a policy with its guard, and an aligned adapter.

Run it: python examples/deploy.py guard RUN         RUN is the folder of a heed guard run
        python examples/deploy.py adapter FOLDER    FOLDER is a checkpoint of heed align, or what Policy.save wrote
"""

import sys
from pathlib import Path

import numpy as np
import torch
import yaml


def guarded(run: Path):
    """The run's environment, its trained policy, and the guard with models fitted to all that the run has seen."""
    from heed.guard.models.transitions import Transitions
    from heed.guard.labels import Labels
    from heed.guard.run.build import build
    from heed.guard.run.config import job_of

    made = build(job_of(yaml.safe_load((run / "config.yaml").read_text())))
    made.learner.set_parameters(str(run / "learner.zip"))
    with np.load(run / "labels.npz") as stored:
        made.phases.labels.add_stored(Labels(**{name: torch.from_numpy(stored[name]) for name in stored}))
    made.phases.labels.transitions = Transitions.load(run / "transitions.npz")
    made.phases.refit()
    made.guard.observers.clear()  # from here on it neither learns nor asks
    return made.guard, made.learner
