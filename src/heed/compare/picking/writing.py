"""What was picked as a folder: an adapter, or a whole model with it merged; and a card that says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

import heed
from heed.compare.picking.front_points import FrontPoint, Pick
from heed.compare.picking.mixing import CONFIG, WEIGHTS, mix_adapters
from heed.compare.picking.serving import config_of
from heed.errors import HeedError
from heed.runs.files import write_whole

_KEPT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "tokenizer.model")


def write_picked(
    pick: Pick,
    out: Path,
    names: Sequence[str],
    points: Sequence[FrontPoint],
    method: str,
    base: str | None = None,
    merge: bool = False,
) -> Path:
    """Write what was picked, with its tokenizer and a model card.

    Args:
        pick: the policies and their shares.
        out: a new folder.
        names: of the objectives.
        points: all of the front, for the card's table.
        method: that trained them.
        base: the base model, where it does not lie where the adapter says.
        merge: write a whole model, with the change added to the base's weights, in place of an adapter.

    Returns:
        The folder.

    Raises:
        HeedError: the folder is not empty, the adapters cannot be mixed, or the base is not there.
    """
    if out.exists() and any(out.iterdir()):
        raise HeedError("this folder is not empty", str(out), "give a new one with --out")
    adapter = out / "adapter" if merge else out
    parts = [(part.adapter, share) for part, share in zip(pick.parts, pick.shares, strict=True) if share > 0]
    if len(parts) == 1:  # as it is, of whatever kind
        config, mixed = config_of(parts[0][0]), None
    else:
        config, mixed = mix_adapters(*zip(*parts, strict=True))
    if base is not None:
        config |= {"base_model_name_or_path": base}
    adapter.mkdir(parents=True, exist_ok=True)
    write_whole(adapter / CONFIG, json.dumps(config, indent=2) + "\n")
    if mixed is None:
        shutil.copy(parts[0][0] / WEIGHTS, adapter / WEIGHTS)
    else:
        save_file(mixed, adapter / WEIGHTS, metadata={"format": "pt"})
    for name in _KEPT:
        if (pick.parts[0].adapter / name).is_file():
            shutil.copy(pick.parts[0].adapter / name, out / name)
    if merge:
        _merge(adapter, out, config["base_model_name_or_path"])
        shutil.rmtree(adapter)
    write_whole(out / "README.md", card(pick, names, points, method, config["base_model_name_or_path"], merge))
    return out


def _merge(adapter: Path, out: Path, base: str) -> None:
    from peft import PeftModel  # an adapter alone is written without any model
    from transformers import AutoModelForCausalLM

    from heed.align.models.pretrained import quiet_transformers, require_model_path

    require_model_path(base, "base model")
    with quiet_transformers():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), adapter)
        model.merge_and_unload().save_pretrained(out)


def card(pick: Pick, names: Sequence[str], points: Sequence[FrontPoint], method: str, base: str, merged: bool) -> str:
    """The model card, in Markdown with the hub's header.

    Args:
        pick: the policies and their shares.
        names: of the objectives.
        points: all of the front.
        method: that trained them.
        base: the model under the adapter.
        merged: whether the folder holds a whole model.
    """
    asked = ", ".join(f"{name} {weight:g}" for name, weight in zip(names, pick.asked, strict=True))
    one = len(pick.parts) == 1 or max(pick.shares) == 1
    lines = ["---", f"base_model: {base}", f"library_name: {'transformers' if merged else 'peft'}"]
    lines += ["tags: [heed, multi-objective, preference]", "---", "", f"# {asked}", ""]
    lines.append(f"Trained by heed {heed.__version__}, `{method}`, on {', '.join(names)}; {_what(merged)} of `{base}`.")
    lines += ["", _mixture(pick, names, one), "", "| preference | " + " | ".join(names) + " | in this |"]
    lines.append("|" + "---|" * (len(names) + 2))
    shares = dict(zip([id(part) for part in pick.parts], pick.shares, strict=True))
    for point in points:
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


def _what(merged: bool) -> str:
    return "a whole model, the change added to the weights" if merged else "an adapter"


def _mixture(pick: Pick, names: Sequence[str], one: bool) -> str:
    if one and pick.exact:
        return "This policy was trained for that preference."
    stands = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, pick.stands_for, strict=True))
    if one:
        return f"The front has nothing nearer: this policy was trained for {stands}."
    near = "" if pick.exact else f" The mixture stands for {stands}, the nearest within reach."
    return f"Mixed of two of the front, exactly in their change of weights. **Its own values were not measured.**{near}"
