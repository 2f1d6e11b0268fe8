"""For users of TRL: its GRPOTrainer, with the rewards kept apart up to the update. Nothing else of heed needs it."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.trl.contract import TRIED, check_contract
    from heed.trl.trainer import BalancedGRPOTrainer

__all__ = ["TRIED", "BalancedGRPOTrainer", "check_contract"]

__getattr__ = on_demand(__name__, {"contract": ["TRIED", "check_contract"], "trainer": ["BalancedGRPOTrainer"]})
