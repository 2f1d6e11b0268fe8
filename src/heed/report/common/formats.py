"""Numbers and names as a reader wants them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

MISSING = "–"

_METHODS = {
    "gapo": "GAPO",
    "pgapo": "P-GAPO",
    "linear": "linear",
    "mgda": "MGDA",
    "pcgrad": "PCGrad",
    "cagrad": "CAGrad",
    "upgrad": "UPGrad",
    "nash-mtl": "Nash-MTL",
    "aligned-mtl": "Aligned-MTL",
    "tchebycheff": "smooth Tchebycheff",
    "modo": "MoDo",
    "sdmgrad": "SDMGrad",
    "lagrangian": "PPO-Lagrangian",
    "soups": "rewarded soups",
    "gdpo": "GDPO",
    "gd2po": "GD²PO",
    "mo-grpo": "MO-GRPO",
    "dvao": "DVAO",
    "modpo": "MODPO",
    "ric": "RiC",
    "conditioned": "smooth Tchebycheff, one policy",
    "mbhi": "MBHI",
    "none": "unguarded",
    "hirl": "HIRL",
    "hirl-plan": "HIRL with our planner",
    "look-brake": "look-ahead with the brake",
    "mbhi-true-dynamics": "MBHI with true dynamics",
    "mbhi-true-danger": "MBHI with true danger",
    "mbhi-true": "MBHI with true dynamics and danger",
    "sac-lagrangian": "SAC-Lagrangian",
    "smbpo": "SMBPO",
    "recovery-rl": "Recovery RL",
}


def number(value: float | None) -> str:
    """Write a number with three significant digits and a true minus sign; a dash where there is none.

    >>> number(-0.5531), number(0.5), number(12), number(45210.0), number(None), number(0.00012)
    ('−0.553', '0.50', '12.0', '45,210', '–', '1.2e−4')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    if size == 0:
        text = "0"
    elif size >= 999.5:
        text = f"{value:,.0f}"
    elif size >= 0.0095:
        text = f"{value:.{_decimals(size)}f}"
        text = re.sub(r"(\.\d\d)(\d*?)0+$", r"\1\2", text)  # two decimals are enough where the rest is zero
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def signed(value: float | None) -> str:
    """Write a change with its sign.

    >>> signed(3), signed(-0.25)
    ('+3.00', '−0.25')
    """
    text = number(value)
    return text if text in (MISSING, "0") or text.startswith("−") else f"+{text}"


def percent(value: float | None, digits: int = 0) -> str:
    """Write a share as a percentage.

    >>> percent(0.973), percent(0.8712, 1)
    ('97%', '87.1%')
    """
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}%"


def duration(seconds: float | None) -> str:
    """Write a time in the two units that matter.

    >>> duration(8.24), duration(96), duration(7500)
    ('8.2 s', '1 min 36 s', '2 h 5 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def interval(cell: Mapping[str, Any] | float | None) -> str:
    """Write a mean with its interval.

    Args:
        cell: ``{"mean", "low", "high", "n"}``, all but the mean optional, or a bare number; one value has no interval.

    >>> interval({"mean": 8.1, "low": 7.9, "high": 8.4, "n": 5})
    '8.10 [7.90, 8.40]'
    """
    if not isinstance(cell, Mapping):
        return number(cell)
    low, high = cell.get("low"), cell.get("high")
    mean = number(cell.get("mean"))
    return mean if low == high or number(low) == number(None) else f"{mean} [{number(low)}, {number(high)}]"


def method_title(method: str, p: float | None = None) -> str:
    """Write a method's name as its authors do.

    >>> method_title("gapo", 1), method_title("single:help"), method_title("nash-mtl"), method_title("rewarded_soups")
    ('GAPO (p = 1)', 'help only', 'Nash-MTL', 'rewarded soups')
    >>> method_title("conditioned:pgapo")
    'P-GAPO, one policy'
    """
    kind, _, name = method.partition(":")
    if kind == "single" and name:
        return f"{name} only"
    if kind == "conditioned" and name:
        return f"{method_title(name)}, one policy"
    title = _METHODS.get(method, method.replace("_", " "))
    return f"{title} (p = {p:g})" if method == "gapo" and p is not None else title


def joined(parts: list[str]) -> str:
    """Join parts as a sentence does.

    >>> joined(["help", "price", "brevity"])
    'help, price and brevity'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _decimals(size: float) -> int:
    """Count the decimals that leave three significant digits, after rounding to them."""
    return max(0, 2 - math.floor(math.log10(float(f"{size:.2e}"))))


def counted(number: int, what: str) -> str:
    """So many of something, in words.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
