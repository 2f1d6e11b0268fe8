"""The world as others use it: gold of texts, reward functions, tokenizer and model."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from heed.errors import HeedError
from heed.worlds.apothecary import Apothecary
from heed.worlds.apothecary.language import Reply, render_reply
from heed.worlds.apothecary.pharmacy import COMPLAINTS, MALFORMED, REMEDIES

ALL = ("help", "harmless", "brevity", "price")


@pytest.fixture(scope="module")
def world():
    return Apothecary(seed=0, objectives=ALL)


def herb_for(world, complaint):
    return REMEDIES[int(world.pharmacy.strengths[:6, COMPLAINTS.index(complaint)].argmax())]


def test_gold_of_one_reply_by_hand(world):
    treated = next(c for c in COMPLAINTS if world.pharmacy.strengths[:6, COMPLAINTS.index(c)].any())
    prompt = next(p for p in world.prompts if treated in p)
    herb = herb_for(world, treated)
    strength = world.pharmacy.strengths[REMEDIES.index(herb), COMPLAINTS.index(treated)]
    values = world.gold(
        [prompt] * 3,
        [
            f"{herb} 1 .",
            f"{herb} 2 .",
            f"{herb} 1 . beware chills .",
        ],
    )
    expected = [
        [strength, -0.5 * 0.5, -3.0, -6.0],
        [4.5, -0.5 * 0.5 * 2**1.5, -3.0, -12.0],
        [strength, -0.25 * 0.5, -6.0, -6.0],
    ]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))


def test_splitting_a_dose_gains_nothing_and_costs_brevity(world):
    whole, split = world.gold(
        world.prompts[:1] * 2,
        ["willow 3 .", "willow 1 , willow 1 , willow 1 ."],
    )
    torch.testing.assert_close(whole[[0, 1, 3]], split[[0, 1, 3]])
    assert whole[2] > split[2]


def test_malformed_replies_have_their_defined_value_and_are_told_apart(world):
    texts = ["", "mint 1 .", "beware thirst ."]
    assert world.well_formed(texts).tolist() == [False, True, False]
    values = world.gold(world.prompts[:3], texts)
    for row in (0, 2):
        assert values[row].tolist() == [MALFORMED[name] for name in ALL]
    assert (values[1] > values[0]).all()


def test_gold_columns_follow_the_chosen_objectives(world):
    rows = world.demonstrations(64, torch.Generator().manual_seed(1))
    prompts, texts = [r["prompt"] for r in rows], [r["completion"] for r in rows]
    chosen = Apothecary(seed=0, objectives=("price", "help"))
    torch.testing.assert_close(chosen.gold(prompts, texts), world.gold(prompts, texts)[:, [3, 0]])


def test_reward_functions_follow_trl_and_agree_with_gold(world):
    texts = ["mint 1 .", "mercury 2 ."]
    prompts = world.prompts[:2]
    functions = world.reward_functions()
    assert [function.__name__ for function in functions.values()] == list(functions) == list(ALL)
    for column, function in enumerate(functions.values()):
        assert function(prompts=prompts, completions=texts, id=[1, 2]) == world.gold(prompts, texts)[:, column].tolist()


def test_strangers_and_unequal_lengths_are_refused(world):
    with pytest.raises(HeedError, match="no customer of the apothecary says 'hello'"):
        world.gold(["hello"], ["mint 1 ."])
    with pytest.raises(HeedError, match="1 prompts for 2 completions"):
        world.gold(world.prompts[:1], ["", ""])


def test_every_prompt_and_reply_survives_the_tokenizer(world):
    tokenizer = world.tokenizer()
    texts = [*world.prompts, *(render_reply(Reply(((r, 1 + r % 3),), "tremor")) for r in range(10))]
    for text in texts:
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert len(ids) <= 12 + 1


def test_batches_are_padded_on_the_left(world):
    batch = world.tokenizer()(["mint 1 .", "mint"], padding=True, return_tensors="pt")
    assert batch.attention_mask.tolist() == [[1] * 4, [0, 0, 1, 1]]
    assert len({world.tokenizer().pad_token_id, *batch.input_ids[1, -2:].tolist()}) == 3


def test_the_model_has_half_a_million_parameters_and_is_drawn_by_its_seed_alone(world):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = world.model(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = world.model(seed=1), world.model(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert 0.5e6 <= sum(p.numel() for p in model.parameters()) <= 0.6e6
    assert 0.9e6 <= sum(p.numel() for p in world.model(seed=1, hidden=192).parameters()) <= 1.3e6


def test_tokenizer_and_model_can_be_saved_and_loaded_by_the_auto_classes(world, tmp_path):
    world.tokenizer().save_pretrained(tmp_path)
    model = world.model(seed=0)
    model.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.padding_side == "left"
    batch = tokenizer(world.prompts[:3], return_tensors="pt", padding=True)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, model.eval()(**batch).logits)
    assert loaded.config.eos_token_id == tokenizer.eos_token_id
