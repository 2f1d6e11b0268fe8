"""The model card of what was picked: whose it is, of which policies, with which values."""

from __future__ import annotations

from pathlib import Path

from heed.compare.picking.front_points import Pick
from heed.compare.picking.reading import Policies

SOUP, OF_ONE_POLICY = "soups", ("conditioned", "ric")
"""Methods whose points were not each trained for their preference; by name, as their modules load transformers."""


def card(pick: Pick, policies: Policies, base: str, dtype: str | None = None) -> str:
    """The model card, in Markdown with the hub's header.

    Args:
        pick: the policies and their shares.
        policies: all of the front.
        base: the model under the adapter: a hub id, or an absolute folder, of which the card has the last name alone.
        dtype: of the weights where the folder holds a whole model; None where it holds an adapter.
    """
    names = policies.names
    folder = Path(base).is_absolute()  # whose place on this machine is nobody's business
    lines = ["---", *([] if folder else [f"base_model: {base}"])]
    lines.append(f"library_name: {'peft' if dtype is None else 'transformers'}")
    base = Path(base).name if folder else base
    lines += ["tags: [heed, multi-objective, preference]", "---", "", f"# {_weights(pick.asked, names)}", ""]
    heed = f"heed {policies.version}".strip()
    lines.append(f"Trained by {heed}, `{policies.method}`, on {', '.join(names)}; {_what(dtype)} of `{base}`.")
    lines += ["", _mixture(pick, policies), "", "| preference | " + " | ".join(names) + " | in this |"]
    lines.append("|" + "---|" * (len(names) + 2))
    shares = dict(zip([id(part) for part in pick.parts], pick.shares, strict=True))
    for point in policies.points:
        share = shares.get(id(point), 0.0)
        values = " | ".join(f"{value:.3g}" for value in point.values)
        preference = " / ".join(f"{weight:g}" for weight in point.preference)
        lines.append(f"| {preference} | {values} | {f'{100 * share:.3g}%' if share else ''} |")
    lines += [
        "",
        "Values are means over the prompts of the last evaluation, by the rewards or the exact values of its world.",
        "",
    ]
    return "\n".join(lines)


def _what(dtype: str | None) -> str:
    if dtype is None:
        return "an adapter"
    rounded = f" (in float32, and rounded to the base's {dtype})" if dtype != "float32" else ""
    return f"a whole model, the change added{rounded} to the weights"


def _mixture(pick: Pick, policies: Policies) -> str:
    stands = _weights(pick.stands_for, policies.names)
    if len(pick.parts) == 1:
        wanted = "that preference" if pick.exact else stands
        came = _came(policies.method, pick.parts[0].tag, wanted)
        return came if pick.exact else f"The front has nothing nearer. {came}"
    near = "" if pick.exact else f" The mixture stands for {stands}, the nearest within reach."
    how = f"Mixed of {len(pick.parts)} of the front, exactly in their change of weights."
    return f"{how} **Its own values were not measured.**{near}"


def _came(method: str, tag: str, wanted: str) -> str:
    """How a point of the front came to stand for a preference."""
    if method == SOUP:
        return f"This policy was mixed for {wanted}, of policies that were trained for one objective each."
    if method.partition(":")[0] in OF_ONE_POLICY:
        told = f"; put this before each prompt: `{tag}`" if tag else "; this is its adapter for this one"
        return f"One policy was trained for all preferences, and here stands for {wanted}{told}."
    return f"This policy was trained for {wanted}."


def _weights(preference: tuple[float, ...], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, preference, strict=True))
