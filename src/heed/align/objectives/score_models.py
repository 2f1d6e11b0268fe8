"""Score models of PKU's safe-rlhf, such as ``beaver-7b-v1.0-reward`` and ``-cost``, as objectives.

Their checkpoints are a causal backbone with a linear map ``score_head`` from its last hidden state, read at the end
token of a conversation that is written in one fixed form (Dai et al. 2023, https://github.com/PKU-Alignment/safe-rlhf).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedConfig
from transformers.utils import cached_file

from heed.align.data.conversations import Completion, Prompt, Tools, as_message_prompt, completion_text, continues
from heed.align.models.pretrained import context_of, keep_end, pad_right, quiet_transformers, require_model_path
from heed.align.objectives.base import Objective, ObjectiveSpec, require_numbers
from heed.align.objectives.reward_models import DTYPES, require_dtype
from heed.errors import HeedError

NORMALISERS = (None, "RunningMeanStd", "ExponentialMovingAverage")
"""Both of these keep a mean and a variance, and differ in training alone."""

CENTRED = {"reward": True, "cost": False}
"""Score types: whether the mean is subtracted before the deviation divides; a cost keeps its zero."""


def is_score_model(config: Mapping[str, Any]) -> bool:
    """Whether a model's config is that of such a checkpoint.

    >>> is_score_model({"architectures": ["LlamaForScore"]}), is_score_model({"architectures": None})
    (True, False)
    """
    return any(str(name).endswith("ForScore") for name in config.get("architectures") or ())


def require_score_config(config: Mapping[str, Any], path: str) -> None:
    """Refuse a checkpoint of this kind that is not read here.

    Raises:
        HeedError: several scores, another normaliser or type.
    """
    if config.get("score_dim", 1) != 1:
        raise HeedError(f"the score model has {config['score_dim']} scores", path, "give one with a single score")
    if config.get("normalizer_type") not in NORMALISERS:
        known = ", ".join(str(each) for each in NORMALISERS[1:])
        raise HeedError(f"the normaliser {config['normalizer_type']!r} is not known", path, f"give one of {known}")
    if config.get("score_type", "reward") not in CENTRED:
        raise HeedError(f"a score model of type {config['score_type']!r}", path, "give one of reward or cost")


def conversation_text(prompt: Prompt, completion: Completion, end: str) -> str:
    """A conversation in the form that these models learnt from; a text is what the user says.

    Args:
        prompt: a text, or messages of user and assistant in turn.
        completion: the assistant's answer.
        end: the tokenizer's end token, which closes each answer.

    Raises:
        HeedError: a message of another role.

    >>> conversation_text("Hello?", "Good day.", "</s>")
    'BEGINNING OF CONVERSATION: USER: Hello? ASSISTANT:Good day.</s>'
    """
    messages, reply = as_message_prompt(prompt), completion_text(completion)
    if continues(prompt):
        messages, reply = messages[:-1], messages[-1]["content"] + reply
    parts = ["BEGINNING OF CONVERSATION: "]
    for number, message in enumerate([*messages, {"role": "assistant", "content": reply}]):
        role = ("user", "assistant")[number % 2]
        if message["role"] != role:
            what = f"score models read user and assistant in turn, and message {number} is the {message['role']}'s"
            raise HeedError(what, repr(list(messages))[:80], "leave it out, or give another judge")
        written = f"USER: {message['content']} ASSISTANT:" if role == "user" else f"{message['content']}{end}"
        parts.append(written)
    return "".join(parts)


class ScoreModel(Objective):
    """A safe-rlhf score model as an objective.

    Args:
        path: a local folder or a hub id.
        name: the objective's name, else the last part of the path.
        sign: +1 if more is better, -1 if less is (a cost).
        scale: positive factor on the values.
        unit: what the values are measured in.
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
        device: where it runs; a CUDA device if there is one, else the CPU.
        batch_size: completions in one forward pass.
        max_length: tokens kept, from the end; the model's context if None.

    Raises:
        HeedError: nothing at the path, no score head in it, or one that is not read here.
    """

    def __init__(
        self,
        path: str | Path,
        name: str | None = None,
        sign: float = 1.0,
        scale: float = 1.0,
        unit: str = "",
        dtype: str = "auto",
        device: str | torch.device | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
    ) -> None:
        self.specs, self.path = (ObjectiveSpec(name or Path(path).name, sign, scale, unit),), str(path)
        require_dtype(dtype, self.path)
        require_model_path(path, "score model")
        try:
            with quiet_transformers():
                config = PreTrainedConfig.get_config_dict(self.path)[0]
                require_score_config(config, self.path)
                kept = _tensors(self.path, ("score_head.", "normalizer."))
                if "score_head.weight" not in kept:
                    what = "the score model has no score head (score_head.weight is missing)"
                    raise HeedError(what, self.path, "fetch all of its weights")
                self.tokenizer = AutoTokenizer.from_pretrained(self.path)
                options = {"dtype": DTYPES[dtype], "output_loading_info": True}
                model, loading = AutoModel.from_pretrained(self.path, **options)
                self.mean, self.deviation = _normaliser(config, kept)
        except (OSError, ValueError, TypeError, RuntimeError, UnpicklingError, SafetensorError) as error:
            reason = f"cannot load a score model: {str(error).splitlines()[0]}"
            raise HeedError(reason, self.path, "give a folder with config.json, weights and tokenizer") from error
        if loading["missing_keys"]:
            what = f"the score model lacks weights ({sorted(loading['missing_keys'])[0]}, ...)"
            raise HeedError(what, self.path, "fetch all of them")
        if self.tokenizer.eos_token is None:
            raise HeedError("the score model's tokenizer has no end token", self.path, "set its eos_token")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval().requires_grad_(False)
        head = {name: tensor.to(self.device, model.dtype) for name, tensor in kept.items() if "score_head" in name}
        self.weight, self.bias = head["score_head.weight"], head.get("score_head.bias")
        self.batch_size, self.max_length = batch_size, max_length or context_of(model)

    def check(self, prompt: Prompt, tools: Tools = None) -> None:  # noqa: ARG002 - its form has no place for them
        """Refuse messages that are not user's and assistant's in turn."""
        conversation_text(prompt, "", self.tokenizer.eos_token)

    @torch.no_grad()
    def score(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        columns: Mapping[str, Sequence[Any]],  # noqa: ARG002
    ) -> Tensor:
        """Score a batch of B completions at their end tokens: float32 [B, 1]."""
        end = self.tokenizer.eos_token
        texts = [conversation_text(*pair, end) for pair in zip(prompts, completions, strict=True)]
        rows = [keep_end(self.tokenizer(text)["input_ids"], self.max_length, self.tokenizer) for text in texts]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        scores = torch.empty(len(rows), 1)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            inputs = pad_right([rows[index] for index in chosen], pad_id=0)
            states = self.model(**{key: value.to(self.device) for key, value in inputs.items()}, use_cache=False)
            ends = inputs["attention_mask"].sum(1) - 1
            last = states.last_hidden_state[torch.arange(len(chosen)), ends]
            scores[chosen] = torch.nn.functional.linear(last, self.weight, self.bias).float().cpu()
        return require_numbers((scores - self.mean) / self.deviation, self.specs, completions)


def _normaliser(config: Mapping[str, Any], kept: Mapping[str, Tensor]) -> tuple[float, float]:
    """What is subtracted from a score, and what then divides it."""
    if not config.get("do_normalize", False):
        return 0.0, 1.0
    told = {name: (config.get(name) or [default])[0] for name, default in (("mean", 0.0), ("var", 1.0))}
    mean, variance = (float(kept.get(f"normalizer.{name}", torch.tensor(value))) for name, value in told.items())
    centred = CENTRED[config.get("score_type", "reward")]
    return (mean if centred else 0.0), variance**0.5 + 1e-8 if config.get("normalizer_type") else 1.0


def _tensors(path: str, beginnings: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of a checkpoint whose names begin so, from safetensors or PyTorch's own files, in parts or not."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
        index, files = cached_file(path, f"{name}.index.json", **quiet), {name}
        if index is not None:
            parts = json.loads(Path(index).read_text())["weight_map"]
            files = {file for tensor, file in parts.items() if tensor.startswith(beginnings)}
        found: dict[str, Tensor] = {}
        for file in filter(None, (cached_file(path, each, **quiet) for each in files)):
            found |= _read(Path(file), beginnings)
        if found:
            return found
    return {}


def _read(file: Path, beginnings: tuple[str, ...]) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as held:
            return {name: held.get_tensor(name) for name in held.keys() if name.startswith(beginnings)}  # noqa: SIM118
    stored = torch.load(file, map_location="cpu", weights_only=True)
    return {name: tensor for name, tensor in stored.items() if name.startswith(beginnings)}
