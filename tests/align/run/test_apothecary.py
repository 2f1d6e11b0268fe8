"""The built-in world made ready once, from a seed, and found again."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from heed.align.objectives.base import ObjectiveSet
from heed.align.run.apothecary import ApothecarySetup, PreparedApothecary, cache_folder, prepare, prepared_folders
from heed.errors import HeedError

TINY = ApothecarySetup(hidden=32, layers=1, demonstrations=64, warm_epochs=1, comparisons=128, judge_epochs=1)
REPLIES = ["mint 1 .", "sage 2 , yarrow 1 ."]


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, stages = tmp_path_factory.mktemp("worlds"), []
    prepared = prepare(TINY, judges=True, folder=folder, on_stage=lambda *stage: stages.append(stage))
    return folder, prepared, stages


def test_the_same_preparation_is_found_and_not_made_again(made):
    folder, prepared, _ = made
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    again = prepare(TINY, judges=True, folder=folder, on_stage=lambda *stage: pytest.fail(f"made again: {stage}"))
    assert (again.policy, again.judges, again.accuracy) == (prepared.policy, prepared.judges, prepared.accuracy)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()} == before


def test_the_same_seed_makes_the_same_policy_and_judges(made, tmp_path):
    _, prepared, _ = made
    again = prepare(TINY, judges=True, folder=tmp_path)
    for one, other in ((prepared.policy, again.policy), (prepared.judges[0], again.judges[0])):
        expected, found = weights(one), weights(other)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert again.accuracy == prepared.accuracy


def test_stages_are_followed_to_their_ends(made):
    _, _, stages = made
    assert list(dict.fromkeys(name for name, _, _ in stages)) == ["warm start", "reward models"]
    for name in ("warm start", "reward models"):
        done = [(step, total) for stage, step, total in stages if stage == name]
        assert done[-1][0] == done[-1][1] > 0


def test_judges_are_named_and_measured_by_objective(made):
    _, prepared, _ = made
    assert set(prepared.accuracy) == {"help", "harmless"}
    assert all(0 <= share <= 1 for share in prepared.accuracy.values())
    assert json.loads((prepared.judges[0] / "accuracy.json").read_text()) == prepared.accuracy


def test_learnt_and_gold_objectives_carry_the_world_s_names_and_gold_is_exact(made):
    _, prepared, _ = made
    learnt, gold = (ObjectiveSet(prepared.objectives(rewards)) for rewards in ("learnt", "gold"))
    assert learnt.names == gold.names == ("help", "harmless")
    prompts = prepared.world.prompts[:2]
    assert torch.equal(gold.score(prompts, REPLIES), prepared.world.gold(prompts, REPLIES).float())
    assert not torch.equal(learnt.score(prompts, REPLIES), gold.score(prompts, REPLIES))


def test_an_ensemble_s_judges_are_trained_apart_and_score_less_where_they_disagree(made):
    folder, prepared, _ = made
    more = prepare(dataclasses.replace(TINY, ensemble=2), judges=True, folder=folder)
    assert len(more.judges) == 2 and more.judges[0] == prepared.judges[0]  # the first is the one that was made before
    prompts = prepared.world.prompts[:2]
    each = torch.stack(
        [
            ObjectiveSet(PreparedApothecary(more.world, more.policy, (one,)).objectives("learnt")).score(
                prompts, REPLIES
            )
            for one in more.judges
        ]
    )
    assert not torch.equal(each[0], each[1])
    together = ObjectiveSet(more.objectives("learnt", pessimism=2.0))
    assert together.names == ("help", "harmless")
    expected = each.mean(0) - 2 * (each[0] - each[1]).abs() / 2
    assert torch.allclose(together.score(prompts, REPLIES), expected, atol=1e-6)


def test_the_policy_is_shared_by_preparations_that_differ_in_their_judges_only(tmp_path):
    policy, judges = prepared_folders(TINY, tmp_path)
    for change, same_policy in (({"comparisons": 160}, True), ({"noise": 0.2}, True), ({"seed": 1}, False)):
        other = prepared_folders(dataclasses.replace(TINY, **change), tmp_path)
        assert (other[0] == policy, other[1] == judges) == (same_policy, False)


def test_without_judges_only_the_policy_is_made(tmp_path):
    found = prepare(TINY, judges=False, folder=tmp_path)
    assert found.judges == () and found.accuracy == {}
    assert not prepared_folders(TINY, tmp_path)[1].exists()
    with pytest.raises(AssertionError):
        PreparedApothecary(found.world, found.policy).objectives("learnt")


def test_what_is_interrupted_leaves_nothing_behind(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(TINY, judges=False, folder=tmp_path, on_stage=interrupt)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_written_is_one_line_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HeedError, match=r"cannot be kept: Not a directory \(.*file/cache.*HEED_CACHE") as told:
        prepare(TINY, judges=False, folder=tmp_path / "file" / "cache")
    assert "\n" not in str(told.value)


def test_the_cache_is_where_heed_cache_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("HEED_CACHE")
    assert cache_folder().name == "heed"
