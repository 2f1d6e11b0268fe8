"""``heed guard --quick`` touches everything: it hands over, looks ahead and plans."""

import json
import time

import numpy as np
import pyarrow.parquet as pq

from heed.cli.guard import QUICK
from heed.cli.guard import run as run_command


def test_a_quick_run_hands_over_looks_and_plans_in_seconds(tmp_path, capsys):
    began = time.process_time()
    run_command(["--quick", "--out", str(tmp_path / "run")])
    spent = time.process_time() - began
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = pq.read_table(tmp_path / "run" / "decisions.parquet").to_pylist()
    alone = [row for row in rows if row["phase"] == "autonomy"]
    assert summary["handed_over_at"] is not None and len(alone) == QUICK["steps"] - summary["handed_over_at"] >= 20
    assert all(np.isfinite(row["risk"]) for row in alone), "it looked"
    assert any(row["plan_ms"] > 0 for row in alone), "it planned"
    assert summary["completed"] and {"return_guarded", "return_unguarded"} <= set(summary)
    assert (tmp_path / "run" / "report.html").is_file() and capsys.readouterr().out.strip().endswith("report.html")
    assert spent < 40, "of one core; some 20 on a busy one"
