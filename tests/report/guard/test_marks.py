"""The report of a run lists the moments that people marked in it, and is silent where there are none."""

import numpy as np

from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.overseers.scripted import RuleOverseer
from heed.oversight.store.export import by_person
from heed.oversight.store.store import MARK, Store
from heed.report.guard.marks import marks_sections


def test_marks_are_told_by_whom_when_where_and_with_their_note_and_retracted_ones_are_not(tmp_path):
    assert marks_sections(tmp_path) == []
    store = Store(f"sqlite:///{tmp_path / 'judgements.db'}")
    recorded = Recorded(RuleOverseer(lambda observation, info: False))
    recorded.begin(store, "walk", "Walk", where=lambda: ("autonomy", 2))
    assert marks_sections(tmp_path) == []
    moment = Proposal(np.array([0.5]), 1, step=41, episode=2)
    rows = [recorded.mark(moment, "ada", note, key) for note, key in (("near", "k"), ("", "l"), ("near", "k"))]
    assert rows == [1, 2, 1]  # a retry is the same mark
    recorded.retract(2, "ada")
    ((_, who, episode, step, phase, note),) = marks_sections(tmp_path)[0].blocks[0].rows
    assert (who, episode, step, phase, note) == ("ada", "3", "42", "autonomy", "near")
    (mark,) = recorded.marks()
    assert (mark.kind, mark.model_version, mark.shown["observation"]) == (MARK, "2", [0.5])
    assert by_person([mark]) == [] and store.count() == 0
    store.close()
