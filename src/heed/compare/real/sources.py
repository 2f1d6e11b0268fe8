"""Where judgements and prompts come from: the public data sets by name, or a folder of one's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from heed.errors import HeedError

OBJECTIVES = ("helpful", "harmless")


@dataclass(frozen=True)
class Sources:
    """Files, folders or hub ids.

    Args:
        helpful: comparisons of helpfulness, in any format of `heed reward`.
        harmless: comparisons of harmlessness.
        risky: prompts that ask for harm, or come near it.
        benign: prompts that do neither.
    """

    helpful: str = "PKU-Alignment/PKU-SafeRLHF"
    harmless: str = "PKU-Alignment/PKU-SafeRLHF"
    risky: str = "PKU-Alignment/PKU-SafeRLHF"
    benign: str = "tatsu-lab/alpaca"

    @classmethod
    def in_folder(cls, folder: Path) -> Sources:
        """The files helpful, harmless, risky and benign of a folder, each .jsonl, .jsonl.gz or .parquet.

        Raises:
            HeedError: one is missing.
        """
        found = {}
        for each in fields(cls):
            files = [folder / f"{each.name}{end}" for end in (".jsonl", ".jsonl.gz", ".parquet")]
            there = [file for file in files if file.is_file()]
            if not there:
                names = ", ".join(f"{field.name}.jsonl" for field in fields(cls))
                raise HeedError(f"{each.name}.jsonl is missing", f"--data {folder}", f"give a folder with {names}")
            found[each.name] = str(there[0])
        return cls(**found)
