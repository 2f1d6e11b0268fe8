"""Pairs sampled from a model: different texts, each drawn once, the same whether or not it was interrupted."""

import json

import pytest
from tiny_policies import PROMPTS, TOKENIZER, tiny_model, tiny_policy

from heed.align.labelling import pairs as pairs_module
from heed.align.labelling.config import PairSampling
from heed.align.labelling.pairs import TRIES, sample_pairs
from heed.errors import HeedError, Stopped

CHAT = "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}. {% endif %}"
ASKED = PROMPTS[:10]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "base"
    tiny_model().save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return str(folder)


def settings(base, **changes):
    return PairSampling(**{"model": base, "max_completion_tokens": 6, **changes})


def stop_at(count):
    def on_prompts(done, total):
        if done >= count:
            raise Stopped

    return on_prompts


class Saying:
    """In place of a sampler: says what it is told to, call by call, of each prompt."""

    def __init__(self, policy, sampling):
        self.policy = policy

    def roll(self, prompts, generator):
        type(self).calls.append(list(prompts))
        said = type(self).says(len(type(self).calls), prompts)
        return type("Rollout", (), {"completions": said})


@pytest.fixture
def saying(monkeypatch):
    def by(function):
        Saying.calls, Saying.says = [], staticmethod(function)
        monkeypatch.setattr(pairs_module, "Sampler", Saying)
        return Saying

    return by


def test_each_prompt_has_its_pairs_of_two_different_texts_in_the_file_and_in_order(base, tmp_path):
    path, progress = tmp_path / "new" / "pairs.jsonl", []
    pairs = sample_pairs(path, ASKED, settings(base, pairs_per_prompt=2), 3, lambda *now: progress.append(now))
    assert [pair.prompt for pair in pairs] == [prompt for prompt in ASKED for _ in range(2)]
    assert all(first.strip() != second.strip() for first, second in (pair.completions for pair in pairs))
    assert all(len(text.split()) <= 6 for pair in pairs for text in pair.completions)
    assert progress == [(n, 20) for n in (3, 6, 9, 12, 15, 18, 20)]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["id"], row["prompt"], tuple(row["completions"])) for row in rows] == [
        (pair.id, pair.prompt, pair.completions) for pair in pairs
    ]
    assert [file.name for file in path.parent.iterdir()] == ["pairs.jsonl"]


def test_a_second_start_goes_on_with_the_same_pairs_and_loads_no_model(base, tmp_path, monkeypatch):
    path = tmp_path / "pairs.jsonl"
    first = sample_pairs(path, ASKED, settings(base))
    monkeypatch.setattr(pairs_module, "load_sampling_model", lambda *_: pytest.fail("loaded"))
    assert sample_pairs(path, ASKED, settings(base)) == first


def test_files_of_before_the_template_had_variables_are_found_again(tmp_path):
    pair = {"id": "d71437a3d0bb11f5-0", "prompt": "fever", "completions": ["tea", "rest"]}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair))
    assert len(sample_pairs(tmp_path / "pairs.jsonl", ["fever"], settings("m", max_completion_tokens=256))) == 1
    with pytest.raises(HeedError, match="this file holds other pairs"):
        other = settings("m", max_completion_tokens=256, template_arguments={"enable_thinking": False})
        sample_pairs(tmp_path / "pairs.jsonl", ["fever"], other)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"temperature": 0.9},
        {"top_k": 5},
        {"pairs_per_prompt": 2},
        {"batch_size": 2},
        {"prompts": ASKED[:-1]},
    ],
)
def test_pairs_of_other_prompts_or_settings_are_not_taken_for_these(base, tmp_path, changes):
    path = tmp_path / "pairs.jsonl"
    sample_pairs(path, ASKED, settings(base))
    before = path.read_bytes()
    changes = dict(changes)
    asked, batch_size = changes.pop("prompts", ASKED), changes.pop("batch_size", 16)
    with pytest.raises(HeedError, match=r"holds other pairs than .*\(--pairs .*pairs.jsonl\)"):
        sample_pairs(path, asked, settings(base, **changes), batch_size)
    assert path.read_bytes() == before


def test_an_interrupted_start_ends_with_the_pairs_of_an_uninterrupted_one(base, tmp_path):
    straight, broken = tmp_path / "straight.jsonl", tmp_path / "broken.jsonl"
    sample_pairs(straight, ASKED, settings(base), 3)
    with pytest.raises(Stopped):
        sample_pairs(broken, ASKED, settings(base), 3, stop_at(6))
    assert not broken.exists()
    (partial,) = tmp_path.glob(".broken*")
    with partial.open("a") as file:
        file.write('{"completions": [["torn')
    progress = []
    sample_pairs(broken, ASKED, settings(base), 3, lambda done, _: progress.append(done))
    assert progress == [9, 10]
    assert broken.read_bytes() == straight.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken.jsonl", "straight.jsonl"]


def test_the_same_text_twice_is_drawn_again_and_at_last_left_out(base, tmp_path, saying):
    def says(call, prompts):
        """The first draw says "a"; later ones too, but "b" of the second prompt from the third redraw on."""
        return ["b" if call > 4 and prompt == ASKED[1] else " a" if call > 1 else "a" for prompt in prompts]

    sampler = saying(says)
    pairs = sample_pairs(tmp_path / "pairs.jsonl", ASKED[:3], settings(base))
    assert [(pair.prompt, pair.completions) for pair in pairs] == [(ASKED[1], ("a", "b"))]
    assert sampler.calls[:5] == [ASKED[:3]] * 5 and sampler.calls[5:] == [[ASKED[0], ASKED[2]]] * (TRIES - 3)


def test_nothing_to_compare_at_all_is_said(base, tmp_path, saying):
    saying(lambda call, prompts: ["a"] * len(prompts))
    with pytest.raises(HeedError, match=r"always the same \(10 prompts, 10 draws each\): raise --temperature"):
        sample_pairs(tmp_path / "pairs.jsonl", ASKED, settings(base))
    assert list(tmp_path.iterdir()) == []


def test_two_models_speak_against_each_other_the_first_one_first(base, tmp_path):
    """With the likeliest token alone, each says the same every time, so that one tells which of them spoke."""
    tiny_policy(moved=3.0).save(tmp_path / "adapter")
    other = tiny_model(seed=9)
    other.save_pretrained(tmp_path / "other")
    TOKENIZER.save_pretrained(tmp_path / "other")
    greedy = {"top_k": 1}
    said = {}
    for against in ("adapter", "other"):
        found = sample_pairs(
            tmp_path / f"{against}.jsonl", ASKED, settings(base, against=str(tmp_path / against), **greedy)
        )
        said[against] = {pair.prompt: pair.completions for pair in found}
        assert len(found) >= 5
    swapped = settings(base, adapter=str(tmp_path / "adapter"), against=base, **greedy)
    back = {pair.prompt: pair.completions for pair in sample_pairs(tmp_path / "back.jsonl", ASKED, swapped)}
    assert back == {prompt: (second, first) for prompt, (first, second) in said["adapter"].items()}
    both = said["adapter"].keys() & said["other"].keys()
    assert both and all(said["adapter"][prompt][0] == said["other"][prompt][0] for prompt in both)
    assert any(said["adapter"][prompt][1] != said["other"][prompt][1] for prompt in both)


def test_conversations_go_through_the_chat_template_and_stay_conversations(base, tmp_path):
    talks = TOKENIZER.__class__.from_pretrained(base)
    asked = [[{"role": "user", "content": prompt, "topic": "health"}] for prompt in ASKED]
    with pytest.raises(HeedError, match="the tokenizer has no chat template"):
        sample_pairs(tmp_path / "pairs.jsonl", asked, settings(base))
    talks.chat_template = CHAT
    tiny_model().save_pretrained(tmp_path / "chat")
    talks.save_pretrained(tmp_path / "chat")
    pairs = sample_pairs(tmp_path / "pairs.jsonl", asked, settings(str(tmp_path / "chat")))
    assert [pair.prompt for pair in pairs] == [[{"role": "user", "content": prompt}] for prompt in ASKED]
    with pytest.raises(HeedError, match="give texts alone"):
        image = [[{"role": "user", "content": [{"type": "image"}]}]]
        sample_pairs(tmp_path / "images.jsonl", image, settings(str(tmp_path / "chat")))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"temperature": 0.0}, "temperature is 0.0 .--temperature.: give a positive number"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"max_completion_tokens": 0}, "max_completion_tokens is 0"),
        ({"pairs_per_prompt": 0}, "pairs_per_prompt is 0"),
        ({"max_completion_tokens": 62}, "prompt 0 has .* context of 64"),
    ],
)
def test_settings_with_which_nothing_can_be_sampled_are_refused(base, tmp_path, changes, wrong):
    with pytest.raises(HeedError, match=wrong):
        sample_pairs(tmp_path / "pairs.jsonl", ASKED, settings(base, **changes))


def test_a_place_where_nothing_can_be_written_is_said(base, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HeedError, match="no pairs can be kept"):
        sample_pairs(tmp_path / "file" / "pairs.jsonl", ASKED, settings(base))
    with pytest.raises(HeedError, match=r"end it in \.jsonl"):
        sample_pairs(tmp_path / "pairs.csv", ASKED, settings(base))
    with pytest.raises(HeedError, match="a batch of 0"):
        sample_pairs(tmp_path / "pairs.jsonl", ASKED, settings(base), batch_size=0)
