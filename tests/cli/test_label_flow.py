"""From labels to a policy: heed label, heed reward, heed align on the built-in world; the person knows it exactly."""

import _thread
import json
import math
import queue
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as parquet
import pytest
from labelling import TOLD, compare
from scipy.stats import binomtest

from heed.align import HeadSpec, ManyHeadedRewardModel, ObjectiveSet
from heed.align.labelling.config import PairSampling
from heed.align.labelling.margins import with_margins
from heed.align.labelling.pairs import sample_pairs
from heed.align.preferences import read_comparisons
from heed.align.run.apothecary import ApothecarySetup, prepare
from heed.cli.label import run as run_label
from heed.cli.reward import run as run_reward
from heed.oversight.comparisons.pairs import read_pairs
from heed.oversight.comparisons.session import Comparison
from heed.web.limits import Limits
from heed.worlds.apothecary import Apothecary
from tiny_runs import TINY

WORLD = Apothecary()
EACH = 4
"""Pairs of each prompt."""


def gaps(pairs):
    """By how much the first one's exact values exceed the second's, [N, K]."""
    prompts = [pair.prompt for pair in pairs]
    first, second = (WORLD.gold(prompts, [pair.completions[side] for pair in pairs]) for side in (0, 1))
    return first - second


def exactly(pair):
    """What a person says who knows the world."""
    values = WORLD.gold([pair["prompt"]] * 2, [pair["left"], pair["right"]])
    said = ["tie" if a == b else "left" if a > b else "right" for a, b in zip(*values.tolist(), strict=True)]
    return dict(zip(WORLD.names, said, strict=True))


@pytest.fixture(scope="module")
def labelled(heed_cache, tmp_path_factory):
    """A folder in which a person has compared all pairs of the world's policy, over the page's websocket."""
    folder, told = tmp_path_factory.mktemp("flow"), queue.Queue()

    def person():
        address, token = next(found.groups()[1:] for text in iter(told.get, None) if (found := TOLD.search(text)))
        return compare(address, token, exactly, len(read_pairs(folder / "store-pairs.jsonl")))

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr("heed.cli.label.say", lambda text, **_: told.put(text))
        comparing = pool.submit(person)
        comparing.add_done_callback(lambda done: done.exception() and _thread.interrupt_main())
        try:
            run_label(
                [
                    *("--world", "apothecary", "--pairs-per-prompt", str(EACH), "--objectives", "help,harmless"),
                    *("--batch-size", "84", "--store", str(folder / "store.db"), "--port", "0"),
                    *("--out", str(folder / "comparisons.jsonl")),
                ],
                Limits(messages=10_000),  # this person is faster than people are
            )
        finally:
            told.put(None)
        shown = comparing.result()
    assert sorted(pair["pair"] for pair in shown) == sorted(p.id for p in read_pairs(folder / "store-pairs.jsonl"))
    return folder


@pytest.fixture(scope="module")
def judges(labelled):
    """The reward models that were learnt from them."""
    run_reward([str(labelled / "comparisons.jsonl"), "--world", "apothecary", "--out", str(labelled / "judges")])
    return labelled / "judges"


def test_what_was_compared_at_the_page_is_what_there_is_to_learn_from(labelled):
    found = read_comparisons(labelled / "comparisons.jsonl")
    pairs = {(pair.prompt, *sorted(pair.completions)) for pair in read_pairs(labelled / "store-pairs.jsonl")}
    assert {(row["prompt"], *sorted((row["left"], row["right"]))) for row in found} == pairs
    assert all(row["verdicts"] == exactly(row) for row in found)
    assert len({row["prompt"] for row in found}) == len(WORLD.prompts)


def test_reward_models_learnt_from_labels_agree_with_exact_preferences_on_pairs_that_nobody_labelled(judges, tmp_path):
    policy = prepare(ApothecarySetup(), judges=False).policy
    pairing = PairSampling(model=str(policy), max_completion_tokens=16, seed=77, pairs_per_prompt=EACH)
    rows = read_comparisons(judges.parent / "comparisons.jsonl")
    known = {(row["prompt"], *sorted((row["left"], row["right"]))) for row in rows}
    fresh = sample_pairs(tmp_path / "fresh.jsonl", WORLD.prompts, pairing, 84)
    fresh = [pair for pair in fresh if (pair.prompt, *sorted(pair.completions)) not in known]
    heads = ManyHeadedRewardModel(judges, [HeadSpec(name, name) for name in WORLD.names])
    scored = with_margins(fresh, ObjectiveSet([heads]))
    for k, name in enumerate(WORLD.names):
        decided = [
            (pair.scores[name], gap) for pair, gap in zip(scored, gaps(fresh)[:, k].tolist(), strict=True) if gap
        ]
        hits = sum(margin * gap > 0 for margin, gap in decided)
        # Chance is .5, and must lie below the one-sided 99% interval (Clopper & Pearson): 161 hits of 281, say.
        least = binomtest(hits, len(decided), alternative="greater").proportion_ci(0.99).low
        assert len(decided) > 150 and least > 0.5, (name, hits, len(decided), least)


def test_a_policy_is_aligned_to_them_and_told_apart_from_the_exact_values(judges, heed, tmp_path):
    flags = [text for name, value in TINY.items() for text in (f"--{name}", value)]
    code, _, err = heed(
        "align", "--world", "apothecary", "--judges", judges, *flags, "--steps", 2, "--out", tmp_path / "run"
    )
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["completed"] and list(summary["objectives"]) == ["help", "harmless"]
    after = column(tmp_path / "run", "prompt"), column(tmp_path / "run", "completion")
    heads = ManyHeadedRewardModel(judges, [HeadSpec(name, name) for name in WORLD.names])
    judged, exact = heads.score(*after, {}).mean(0), WORLD.gold(*after).mean(0)
    for k, name in enumerate(WORLD.names):
        assert summary["objectives"][name]["proxy"] == pytest.approx(float(judged[k]), rel=1e-4, abs=1e-4)
        assert summary["objectives"][name]["gold"] == pytest.approx(float(exact[k]), rel=1e-6)


def column(run, name):
    return parquet.read_table(run / "completions" / "after.parquet").column(name).to_pylist()


def sure(margins):
    """How sure Bradley and Terry's model is of its answer: 0 where both are as likely."""
    return min(abs(1 / (1 + math.exp(-margin)) - 0.5) for margin in margins)


def disagreement(margins):
    """How strongly the two objectives want different completions; negative where they want the same."""
    return -margins[0] * margins[1]


@pytest.mark.parametrize(("order", "worth"), [("uncertain", lambda m: -sure(m)), ("conflicting", disagreement)])
def test_what_the_page_shows_next_follows_from_the_reward_models(judges, labelled, tmp_path, monkeypatch, order, worth):
    shown = []

    def five_are_compared(server, *_):
        for row in range(5):
            shown.append(server.session.showing("overseer"))
            comparison = Comparison(
                shown[-1]["pair"], exactly(shown[-1]), {"left": False, "right": False}, str(row), 1.0
            )
            server.session.judged(server.session.judgement("overseer", comparison), row)

    monkeypatch.setattr("heed.cli.label.serve_pairs", five_are_compared)
    pairs = labelled / "store-pairs.jsonl"
    with pytest.raises(SystemExit) as stopped:
        run_label(
            [
                *("--pairs", str(pairs), "--store", str(tmp_path / "again.db"), "--objectives", "help,harmless"),
                *("--next", order, "--reward", f"help={judges},head=help", f"{judges},heads=harmless"),
            ]
        )
    assert stopped.value.code == 130
    heads = ManyHeadedRewardModel(judges, [HeadSpec(name, name) for name in WORLD.names])
    found = read_pairs(pairs)
    first, second = (heads.score([p.prompt for p in found], [p.completions[k] for p in found], {}) for k in (0, 1))
    worths = {pair.id: worth(margins) for pair, margins in zip(found, (first - second).tolist(), strict=True)}
    assert len(set(worths.values())) > len(found) / 2
    best = sorted(worths.values(), reverse=True)[:5]
    assert [worths[pair["pair"]] for pair in shown] == pytest.approx(best, abs=1e-5)
    if order == "conflicting":
        assert best[-1] > 0
