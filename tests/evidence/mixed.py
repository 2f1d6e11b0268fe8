"""What mixing two policies of a front gives beside the one that was trained between them.

python tests/evidence/mixed.py FRONT...

For every policy of a `heed front` with a neighbour on either side: half of each neighbour, as `heed pick` mixes them,
and the policy itself, on the same prompts.
"""

import json
import sys
import tempfile
from pathlib import Path

from heed.compare.picking import policies_of
from heed.compare.soups import mix_and_judge


def main() -> None:
    """Print a line for each."""
    for front in map(Path, sys.argv[1:]):
        policies = policies_of(front)
        ordered = sorted(policies.points, key=lambda point: point.preference)
        for before, here, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
            runs = [point.folder.parents[1] for point in (before, after)]
            with tempfile.TemporaryDirectory() as folder:
                values = mix_and_judge(runs, [0.5, 0.5], Path(folder))
            told = {"preference": here.preference, "mixed": [values[name] for name in policies.names]}
            told |= {"trained": here.values, "method": policies.method, "seed": policies.seed}
            print(json.dumps(told))


if __name__ == "__main__":
    main()
