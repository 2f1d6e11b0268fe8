"""A judge of words alone: what it learns, what it keeps, how the command line names it."""

import pytest
import torch

from heed.align.objectives.ngrams import NgramJudge
from heed.align.objectives.spec import parse_objective
from heed.errors import HeedError

CALM = ["rest in bed", "drink some tea", "sleep a while", "sit down quietly", "take your time"]
WILD = ["run a race", "shout it out", "jump about", "drive faster", "hurry up now"]


@pytest.fixture(scope="module")
def judge():
    return NgramJudge.fit([(calm, wild) for calm in CALM[:4] for wild in WILD[:4]])


def test_it_tells_unseen_answers_by_the_words_that_they_share(judge):
    unseen = [("rest and sleep and tea", "race and shout and jump")]
    assert judge.agreement(unseen) == 1.0 and judge.agreement([pair[::-1] for pair in unseen]) == 0.0
    assert judge.agreement([("xyz", "xyz")]) == 0.5
    values = judge.score(["any", "other"], [unseen[0][0], unseen[0][1]], {})
    assert values.shape == (2, 1) and values.dtype == torch.float32 and values[0, 0] > 0 > values[1, 0]


def test_a_pair_turned_round_teaches_the_opposite():
    pairs = list(zip(CALM, WILD, strict=True))
    one, other = NgramJudge.fit(pairs), NgramJudge.fit([pair[::-1] for pair in pairs])
    torch.testing.assert_close(one.weights, -other.weights, atol=1e-4, rtol=1e-3)


def test_a_saved_judge_scores_alike_and_is_named_by_its_folder(judge, tmp_path):
    judge.save(tmp_path / "calm")
    judge.save(tmp_path / "calm")  # again, in its place
    read = parse_objective(f"{tmp_path / 'calm'},sign=-1,scale=2")
    assert read.specs[0].name == "calm" and (read.specs[0].sign, read.specs[0].scale) == (-1.0, 2.0)
    messages = [[{"role": "assistant", "content": CALM[4]}]]
    expected = judge.score(["p"], [CALM[4]], {})
    assert torch.equal(read.score(["p"], messages, {}), expected) and expected != 0
    weights = tmp_path / "calm" / "ngrams.safetensors"
    for half in (weights.read_bytes()[:1000], None):
        weights.write_bytes(half) if half else weights.unlink()
        with pytest.raises(HeedError, match="no judge of n-grams"):
            parse_objective(str(tmp_path / "calm"))
    with pytest.raises(HeedError, match="no comparison"):
        NgramJudge.fit([])
