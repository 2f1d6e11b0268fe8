"""What was picked as a folder: an adapter, or a whole model with it merged; and a card that says what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import save_file

from heed.compare.picking.adapters import CONFIG, WEIGHTS, absolute, base_of, config_of
from heed.compare.picking.card import card
from heed.compare.picking.front_points import Pick
from heed.compare.picking.mixing import mix_adapters
from heed.compare.picking.reading import Policies
from heed.errors import HeedError
from heed.runs.folders import replacing_folder

_KEPT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "tokenizer.model")


def write_picked(pick: Pick, out: Path, policies: Policies, base: str | None = None, merge: bool = False) -> Path:
    """Write what was picked, with its tokenizer and a model card; the folder is there whole or not at all.

    Args:
        pick: the policies and their shares.
        out: a new folder.
        policies: all of the front, for the card.
        base: the base model, where it does not lie where the adapter says.
        merge: write a whole model, with the change added to the base's weights, in place of an adapter.

    Returns:
        The folder.

    Raises:
        HeedError: the folder is a file or not empty, the adapters are broken or cannot be mixed, or the base is not
            there or another model.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HeedError(
            "this folder is not empty" if out.is_dir() else "this is a file", str(out), "give a new one with --out"
        )
    folders = [part.folder for part in pick.parts]
    if len(folders) == 1:  # as it is, of whatever kind
        config, mixed = config_of(folders[0]), None
    else:
        config, mixed = mix_adapters(folders, pick.shares)
    under = absolute(base) if base is not None else base_of(folders[0], config)
    if merge:
        from heed.compare.picking.merging import merge as merge_into  # an adapter alone is written without any model
        from heed.compare.picking.merging import require_base

        require_base(under)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise HeedError("a file lies where a folder is to be", str(out.parent), "give another with --out") from error
    with replacing_folder(out.resolve()) as made:
        adapter = made / "adapter" if merge else made
        adapter.mkdir(exist_ok=True)
        (adapter / CONFIG).write_text(
            json.dumps(config | {"base_model_name_or_path": under}, indent=2) + "\n", encoding="utf-8"
        )
        if mixed is None:
            shutil.copy(folders[0] / WEIGHTS, adapter / WEIGHTS)
        else:
            save_file(mixed, adapter / WEIGHTS, metadata={"format": "pt"})
        for name in _KEPT:
            if (folders[0] / name).is_file():
                shutil.copy(folders[0] / name, made / name)
        dtype = merge_into(adapter, under, made) if merge else None
        if merge:
            shutil.rmtree(adapter)
        (made / "README.md").write_text(card(pick, policies, under, dtype), encoding="utf-8")
    return out
