"""Methods on a model of one's own: the table is of changes by each judge, prompt by prompt."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heed.align.run.job import defaults
from heed.compare import own_model
from heed.compare.methods import MethodsJob, compare_methods, table_of
from heed.compare.own_model import by_prompt, change
from heed.errors import HeedError
from heed.report import write_report
from tiny_runs import run_all_here, save_tiny_model

QUICK = {"steps": 1, "prompts_per_step": 4, "completions_per_prompt": 2, "max_completion_tokens": 6, "lora_r": 4}
QUICK |= {"eval_prompts": 3, "eval_completions": 2, "advantage": "group", "micro_batch": 0}


def vowels(completions, **_):
    return [float(sum(letter in "aeiou" for letter in said)) for said in completions]


def finery(completions, **_):
    return [float(len(said.split())) for said in completions]


def letters(completions, **_):
    return [float(len(said)) for said in completions]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    world = save_tiny_model(folder / "model")
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in world.prompts[:8]))
    mine = {"model": str(folder / "model"), "data": str(folder / "prompts.jsonl")}
    mine |= {"objectives": [f"{__name__}:vowels", f"{__name__}:finery"], "held_out_judges": [f"{__name__}:letters"]}
    return defaults(None, "paper") | QUICK | mine


@pytest.fixture(scope="module")
def made(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "table"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_model, "run_all", run_all_here)
        return out, compare_methods(MethodsJob(["linear", "gapo:p=1"], 2, 1, settings), out)


def test_cells_are_the_mean_changes_of_all_seeds_and_prompts(made):
    out, table = made
    assert table["columns"] == ["vowels", "finery", "letters (held out)", "words", "kl"]
    for row in table["rows"]:
        slug = row["method"].replace(":", "-").replace("=", "-")
        folders = [out / "runs" / f"{slug}-seed{seed}" for seed in (0, 1)]
        for name, kind in (("vowels", "rewards"), ("letters (held out)", "held_out")):
            moves = []
            for folder in folders:
                before, after = (pq.read_table(folder / "completions" / f"{f}.parquet") for f in ("before", "after"))
                assert before["prompt"] == after["prompt"] and len(before) == 6
                column = f"{kind}/{name.split()[0]}"
                moves.append(np.mean(after[column].to_numpy()) - np.mean(before[column].to_numpy()))
            assert row[name]["mean"] == pytest.approx(np.mean(moves))
            assert row[name]["low"] <= row[name]["mean"] + 1e-3 and row[name]["high"] >= row[name]["mean"] - 1e-3
        summary = json.loads((folders[0] / "summary.json").read_text())
        assert set(summary["held_out"]) == {"letters"} and "letters" not in summary["objectives"]
    assert "never trained on: letters" in table["notes"]
    assert write_report(out).exists()


def test_values_of_a_prompt_are_the_mean_of_its_completions(tmp_path):
    rows = {
        "prompt": ["a", "a", "go on", "go on"],
        "completion": ["one", "one two three", "one two", "x"],
        "rewards/kind": [1.0, 3.0, 2.0, 5.0],
        "held_out/other": [0.0, 4.0, float("nan"), 7.0],
        "gold/kind": [9.0, 9.0, 9.0, 9.0],
    }
    pq.write_table(pa.table(rows), tmp_path / "before.parquet")
    found = {name: values.tolist() for name, values in by_prompt(tmp_path / "before.parquet", 2).items()}
    assert found == {"rewards/kind": [2.0, 3.5], "held_out/other": [2.0, 7.0], "words": [2.0, 1.5]}
    (tmp_path / "completions").mkdir()
    for name, shift in (("before", 0.0), ("after", 0.5)):
        moved = rows | {"rewards/kind": [value + shift for value in rows["rewards/kind"]]}
        pq.write_table(pa.table(moved), tmp_path / "completions" / f"{name}.parquet")
    assert change(tmp_path, 2)["rewards/kind"].tolist() == [0.5, 0.5]


def test_what_only_a_world_knows_is_refused(settings, tmp_path):
    assert table_of(settings) == ["single:vowels", "single:finery", "linear", "mgda", "gapo:p=1"]
    for methods, changes, named in (
        (["linear:scaled"], {}, "linear:scaled"),
        (["linear:tuned"], {}, "linear:tuned"),
        (["linear"], {"eval_prompts": 0}, "--eval-prompts"),
        (["linear"], {"data": None}, "--data"),
        (["single:nobody"], {}, "nobody"),
        (["linear"], {"objectives": [f"kl={__name__}:letters"]}, "'kl' is a column"),
    ):
        with pytest.raises(HeedError, match=named):
            compare_methods(MethodsJob(methods, 1, 1, settings | changes), tmp_path / "none")
    assert not (tmp_path / "none").exists()
