"""One policy for all preferences: told by numbers in its prompts, or by what the ranks of its adapter count."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.align.conditioning.gates import write_adapter
    from heed.align.conditioning.tags import WriteTag, tagged

__all__ = ["WriteTag", "tagged", "write_adapter"]

__getattr__ = on_demand(
    __name__,
    {
        "gates": ["write_adapter"],
        "tags": ["WriteTag", "tagged"],
    },
)
