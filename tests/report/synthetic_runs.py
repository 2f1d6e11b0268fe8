"""A synthetic run folder with every file that a report reads, shaped like a run of the apothecary."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import yaml

VERTICES = [[0, 0], [2.9, -0.05], [5.7, -0.12], [7.6, -0.36], [9.0, -0.62], [10.2, -0.98], [11.4, -1.5], [12.0, -1.85]]
NAMES = ["help", "harmless"]
HOSTILE = '<script>alert("no")</script>'
REPLIES = [
    ("willowbark 2 , sage 1 . warning", "willowbark 1 , sage 1 . warning"),
    ("hellebore 3 , mugwort 3 , tonic 2", "mugwort 2 . warning"),
    ("tonic 3", "yarrow 2 , sage 1"),
    (HOSTILE, "sage 2 . warning"),
]


def make_align_run(
    folder: Path, method="gapo", start=(5.1, -2.4), end=(8.1, -0.55), steps=120, names=NAMES, world=True, seed=0
):
    """Write an align run that goes from ``start`` to ``end``, the gold values of the last evaluation exactly."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "completions").mkdir()
    start, end = np.array(start, dtype=float), np.array(end, dtype=float)
    lines, balance = [], []
    for step in range(steps + 1):
        share = 1 - np.exp(-3.2 * step / steps)
        at = start + (end - start) * share / (1 - np.exp(-3.2))
        line = {"step": step}
        if step:
            for k, name in enumerate(names):
                line[f"rewards/{name}/mean"] = float(at[k] * 0.4 + 0.2 + generator.normal(0, 0.15))
                line[f"rewards/{name}/std"] = 0.8
                if world:
                    line[f"gold/{name}/mean"] = float(at[k] + generator.normal(0, 0.12 * abs(end[k] - start[k])))
            norms = [2.2 - share + 0.2 * generator.random() for _ in names]
            norms[-1] *= 0.2
            cosine = -0.35 * share + 0.1 + generator.normal(0, 0.15)
            line |= {f"norm/{n}": float(v) for n, v in zip(names, norms, strict=True)}
            line |= {f"weights/{n}": 1 / (len(names) * float(v)) for n, v in zip(names, norms, strict=True)}
            line |= {f"signal/{n}": float(np.clip(0.6 - 0.5 * share + generator.normal(0, 0.08), 0, 1)) for n in names}
            for a in range(len(names)):
                for b in range(a + 1, len(names)):
                    line[f"cosine/{names[a]}~{names[b]}"] = float(cosine)
            line |= {
                "kl": float(6 * share + generator.normal(0, 0.2)),
                "entropy": float(1.6 - 0.9 * share + generator.normal(0, 0.03)),
                "completions/mean_length": float(9.5 - 2 * share + generator.normal(0, 0.15)),
                "well_formed": float(np.clip(0.97 + 0.02 * share + generator.normal(0, 0.006), 0, 1)),
                "tokens_per_second": 9800.0,
                "seconds/step": 0.41,
                "seconds/generation": 0.11,
                "seconds/gradients": 0.22,
            }
            balance.append({"step": step, "names": list(names), "weights": [0.5] * len(names), "norms": norms})
        if step % 20 == 0:
            for k, name in enumerate(names):
                line[f"eval/rewards/{name}"] = float(at[k] * 0.4 + 0.2)
                if world:
                    line[f"eval/gold/{name}"] = float(at[k])
        lines.append(json.dumps(line))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "balance.jsonl").write_text("\n".join(json.dumps(line) for line in balance) + "\n")
    config = {"method": method, "p": 1, "seed": seed, "steps": steps, "world": "apothecary", "lr": 1e-3}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    objectives = {
        name: {
            "unit": "points" if name == "help" else "",
            "proxy": float(end[k] * 0.4 + 0.2),
            "gold": float(end[k]) if world else None,
            "start": float(start[k] if world else start[k] * 0.4 + 0.2),
        }
        for k, name in enumerate(names)
    }
    write_json(
        folder / "summary.json",
        {
            "kind": "align", "method": method, "seed": seed, "steps": steps, "seconds": 96.2, "version": "0.1.0",
            "config_hash": "3f2a9c81b07d", "completed": True, "objectives": objectives, "kl": 6.0,
            "generated_tokens_per_second": 9800.0, "gradient_seconds_share": 0.54,
        },
    )  # fmt: skip
    if world and len(names) == 2:
        write_exact(folder)
    for when, index in (("before", 0), ("after", 1)):
        rows = [
            {
                "step": index * steps,
                "prompt": f"a customer complains of fever , cough and gout ; number {i}",
                "completion": REPLIES[i % len(REPLIES)][index],
                **{f"rewards/{name}": 0.5 * i + index for name in names},
                **({f"gold/{name}": 0.25 * i - index for name in names} if world else {}),
            }
            for i in range(10)
        ]
        parquet.write_table(pa.Table.from_pylist(rows), folder / "completions" / f"{when}.parquet")
    return folder


def write_exact(folder):
    vertices = np.array(VERTICES)
    write_json(
        folder / "exact.json",
        {
            "names": NAMES,
            "vertices": VERTICES,
            "ideal": vertices.max(0).tolist(),
            "nadir": vertices.min(0).tolist(),
            "references": [[0, -1.85], [-1, -2]],
        },
    )


def make_demo_run(folder):
    folder.mkdir()
    make_align_run(folder / "gapo")
    make_align_run(folder / "help-only", method="single:help", end=(12.0, -24.8), seed=1)
    write_json(folder / "gapo" / "siblings.json", [{"label": "help only", "path": "../help-only"}])
    (folder / "gapo" / "report.html").write_text("")
    write_json(
        folder / "demo.json",
        {
            "runs": [{"label": "GAPO (p = 1)", "path": "gapo"}, {"label": "help only", "path": "help-only"}],
            "headline": "GAPO makes the apothecary more helpful and less harmful at once; trained on help alone, it "
            "poisons its customers.",
            "judges": {"help": 0.912, "harmless": 0.874},
        },
    )
    write_json(
        folder / "summary.json", {"kind": "demo", "seed": 0, "seconds": 251, "version": "0.1.0", "completed": True}
    )
    return folder


def make_front_run(folder):
    folder.mkdir()
    generator = np.random.default_rng(0)
    front, adapters = np.array(VERTICES), []
    preferences = [[0.1, 0.9], [0.3, 0.7], [0.5, 0.5], [0.7, 0.3], [0.9, 0.1]]
    for method in ("pgapo", "linear", "tchebycheff"):
        for weights in preferences:
            for seed in range(3):
                asked = weights[0] * 12
                if method == "pgapo":
                    asked = 0.4 if weights[0] < 0.5 else 8.4 if weights[0] == 0.5 else 11.8
                help_value = float(np.clip(asked + generator.normal(0, 0.4), 0, 12))
                drop = 0.12 if method == "tchebycheff" else 0.25
                value = float(np.interp(help_value, front[:, 0], front[:, 1])) - drop * generator.random() - 0.03
                if method == "pgapo" and weights[0] == 0.9:
                    value -= 8
                adapters.append(
                    {
                        "preference": weights, "method": method, "seed": seed, "values": [help_value, value],
                        "adapter": f"adapters/{method}-{weights[0]}-{seed}",
                    }
                )  # fmt: skip
    cell = {"mean": 0.656, "low": 0.641, "high": 0.671, "n": 3}
    rows = [
        {"label": "pgapo", "staircase": {"mean": 0.411, "low": 0.35, "high": 0.47, "n": 3}, "hull": cell},
        {"label": "linear", "staircase": cell, "hull": {"mean": 0.775, "low": 0.75, "high": 0.8, "n": 3}},
        {"label": "exact optima at the same preferences", "staircase": 0.919, "hull": 0.951},
        {"label": "exact front", "staircase": 1.0, "hull": 1.0},
    ]
    write_json(
        folder / "front.json",
        {
            "names": NAMES, "preferences": preferences, "adapters": adapters,
            "optima": [{"preference": p, "values": VERTICES[1 + i]} for i, p in enumerate(preferences)],
            "hypervolume": {"reference": [0, -1.85], "rows": rows},
        },
    )  # fmt: skip
    write_exact(folder)
    write_json(
        folder / "summary.json",
        {
            "kind": "front", "seed": 0, "steps": 150, "seconds": 1820, "version": "0.1.0", "completed": True,
            "hypervolume": {"pgapo": 0.411, "linear": 0.656}, "exact_hypervolume": 1.0, "reference_point": [0, -1.85],
        },
    )  # fmt: skip
    return folder


def make_compare_run(folder):
    folder.mkdir()
    methods = {
        "warm start": (5.1, -2.4, 0.02), "help only": (12, -24.8, 0), "harmless only": (0.2, -0.02, 0.11),
        "linear (scaled, best tuned)": (9.6, -1.0, 0.5), "MGDA": (2.0, -0.1, 0.28), "GAPO p=1": (8.4, -0.6, 0.62),
        "GAPO p=2": (10.5, -1.4, 0.31),
    }  # fmt: skip
    columns = ["gold help", "gold harmless", "share of the exact hypervolume"]
    rows = [
        {
            "method": method,
            **{
                c: {"mean": v, "low": v - 0.1 - 0.1 * abs(v), "high": v + 0.1 * abs(v), "n": 5}
                for c, v in zip(columns, means, strict=True)
            },
        }
        for method, means in methods.items()
    ]
    rows[0]["share of the exact hypervolume"] = None
    write_json(
        folder / "compare.json",
        {
            "title": "The paper's ordering in the apothecary",
            "columns": columns,
            "rows": rows,
            "notes": ["Intervals are bootstrap 95% over seeds.", "Harmless is in the world's own units."],
        },
    )
    return folder


def write_json(file, data):
    file.write_text(json.dumps(data))
