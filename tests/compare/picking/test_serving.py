"""The line for vLLM: room for the largest rank, and nothing that it would refuse or serve as another policy."""

import pytest

from heed.compare.picking import FrontPoint, adapter_list, vllm_command
from heed.errors import HeedError
from tiny_adapters import adapter, between, policies, save_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


def test_there_is_room_for_the_largest_rank_of_any_module(base, tmp_path):
    plain = adapter(base, tmp_path / "0", 0, r=4)
    wide = adapter(base, tmp_path / "1", 1, r=4, rank_pattern={"down_proj": 20}, alpha_pattern={"down_proj": 40})
    for other, room in ((plain, 8), (wide, 32)):
        line = vllm_command(policies(between([plain, other])))
        assert line.startswith(f"vllm serve {base} --enable-lora --max-lora-rank {room} --lora-modules ")
        assert line.endswith(f" help-0-harmless-1={plain} help-1-harmless-0={other}")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "trained biases"),
        ({"rank_pattern": {"down_proj": 2}}, "scalings by module"),
        ({"alpha_pattern": {"down_proj": 2}}, "scalings by module"),
        ({"r": 513, "lora_alpha": 513}, "rank 513"),
    ],
)
def test_what_vllm_would_refuse_or_read_as_another_policy_is_refused(base, tmp_path, settings, said):
    odd = policies(between([adapter(base, tmp_path / "0", 0), adapter(base, tmp_path / "1", 1, **settings)]))
    with pytest.raises(HeedError, match=rf"vLLM takes no adapter with {said} \(.*/1\): .*--merge"):
        vllm_command(odd)
    assert [each["base_model_name"] for each in adapter_list(odd)] == [str(base)] * 2


def test_one_adapter_that_is_told_by_tags_is_listed_with_them_but_not_for_vllm(base, tmp_path):
    folder = adapter(base, tmp_path / "0", 0)
    points = [FrontPoint((x, 1 - x), (1.0, 2.0), folder, f"[help {x:.0%}] ") for x in (0.25, 0.75)]
    told = policies(points, "ric")
    with pytest.raises(HeedError, match=r"told by a tag before the prompt.*--list json"):
        vllm_command(told)
    assert [each["tag"] for each in adapter_list(told)] == ["[help 25%] ", "[help 75%] "]
