"""What mixing two policies of a front gives beside the one that was trained between them.

python tests/evidence/mixed.py FRONT...

For every policy of a `heed front` with a neighbour on either side: half of each neighbour, as `heed pick` mixes them,
and the policy itself, on the same prompts.
"""

import json
import sys
import tempfile
from pathlib import Path

from heed.compare.picking import points_of
from heed.compare.soups import mix_and_judge


def main() -> None:
    """Print a line for each."""
    for front in map(Path, sys.argv[1:]):
        names, method, seed, points = points_of(front)
        ordered = sorted(points, key=lambda point: point.preference)
        for before, here, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
            runs = [point.adapter.parents[1] for point in (before, after)]
            with tempfile.TemporaryDirectory() as folder:
                values = mix_and_judge(runs, [0.5, 0.5], Path(folder))
            told = {"preference": here.preference, "mixed": [values[name] for name in names], "trained": here.values}
            print(json.dumps({"method": method, "seed": seed} | told))


if __name__ == "__main__":
    main()
