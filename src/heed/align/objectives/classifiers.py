"""Sequence-classification models as their weights are: a config that says no number of heads gets theirs."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForSequenceClassification, PreTrainedConfig

from heed.errors import HeedError


def load_classifier(path: str, dtype: Any) -> tuple[Any, dict[str, Any]]:
    """A model as its weights are, and what transformers reports of loading it.

    Args:
        path: a folder or a hub id.
        dtype: torch's, or "auto" for that of the weights.

    Raises:
        HeedError: the weights are of other sizes than the config says, or it labels other heads than there are.
    """
    load = AutoModelForSequenceClassification.from_pretrained
    options = {"dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, loading = load(path, **options)
    differing = sorted(loading["mismatched_keys"])  # (name, saved size, the model's)
    heads = {
        saved[0] for _, saved, built in differing if saved[1:] == built[1:] and built[0] == model.config.num_labels
    }
    said = PreTrainedConfig.get_config_dict(path)[0]
    if len(heads) == 1 and not {"num_labels", "id2label"} & set(said):
        model, loading = load(path, num_labels=heads.pop(), **options)
        differing = sorted(loading["mismatched_keys"])
    if differing:
        name, saved, built = differing[0]
        raise HeedError(
            f"the weights do not fit config.json: {name} is {list(saved)}, not {list(built)}",
            where=path,
            fix="set id2label in config.json to one label for each head of the weights"
            if heads
            else "give config.json and weights of one model",
        )
    if set(model.config.id2label) != set(range(model.config.num_labels)):
        what = f"config.json labels the heads {', '.join(map(str, model.config.id2label))}"
        raise HeedError(what, path, f"set id2label to labels of 0 to {model.config.num_labels - 1}")
    return model, loading
