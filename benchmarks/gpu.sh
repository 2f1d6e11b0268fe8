#!/usr/bin/env bash
# All checks of alignment that need a GPU, sized for ten minutes on an H100: tests, then gradients, whole steps and generation.
# Results go to OUT (benchmarks/out), tables come last; one that fails lets the others run, and the exit status tells.
# HEED_DEVICE=cpu tries the script itself on tiny shapes; PYTHON names another interpreter than .venv's.
set -uo pipefail
cd "$(dirname "$0")/.."

device=${HEED_DEVICE:-cuda}
out=${OUT:-benchmarks/out}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" HEED_TEST_DEVICE=$device
mkdir -p "$out"
failed=()

# check NAME SECONDS COMMAND...: what the command prints goes to NAME.json, what it says meanwhile to NAME.log.
check() {
    local name=$1 limit=$2 status started=$SECONDS
    shift 2
    echo "$name ..." >&2
    timeout --kill-after=5 "$limit" "$@" >"$out/$name.json" 2>"$out/$name.log"
    status=$?
    [ "$status" = 0 ] || failed+=("$name (status $status$([ "$status" = 124 ] && echo ", over its $limit s"))")
    echo "$name: status $status, $((SECONDS - started)) s" >&2
}

# bench NAME SECONDS BENCH OPTIONS...
bench() {
    local name=$1 limit=$2
    shift 2
    check "$name" "$limit" "$python" -m heed bench "$@" --device "$device" --json
}

check tests 100 "$python" -m pytest -n 4 -m gpu tests/gpu -p no:cacheprovider --junitxml="$out/tests.xml"
mv "$out/tests.json" "$out/tests.txt"
if [ "$device" = cpu ]; then
    bench gradients-checkpointing 40 gradients --shape tiny --k 4 --repeats 2 --checkpointing on
    bench gradients-plain 40 gradients --shape tiny --tokens 17 --k 4 --repeats 2 --checkpointing off
    bench step 40 step --shape tiny --tokens 8 --k 1,2,8 --completions 16 --repeats 2
    bench generate 40 generate --shape tiny --tokens 8 --batches 1,16 --repeats 2
    check vocabulary 35 "$python" benchmarks/vocabulary.py --sequences 2 --tokens 128 --hidden 64 --out "$out"
else
    # Without checkpointing a token of 7 billion parameters takes ten megabytes: a quarter of the tokens.
    bench gradients-checkpointing 170 gradients --shape mistral-7b --k 4 --repeats 2 --checkpointing on
    bench gradients-plain 55 gradients --shape mistral-7b --tokens 256 --k 4 --repeats 3 --checkpointing off
    bench step 135 step --shape 1.1b --tokens 128 --k 1,2,8 --repeats 2
    bench generate 105 generate --shape 1.1b --tokens 128 --batches 64 --repeats 1
    check vocabulary 25 "$python" benchmarks/vocabulary.py --device cuda --out "$out"
fi

# table NAME MODULE FUNCTION
table() {
    echo
    echo "== $1"
    "$python" - "$out/$1.json" "$2" "$3" <<'PYTHON' || tail -n 3 "$out/$1.log"
import importlib
import json
import sys
from pathlib import Path

path, module, function = sys.argv[1:]
text = Path(path).read_text()
if not text.strip():
    sys.exit("no result")
print(getattr(importlib.import_module(module), function)(json.loads(text)))
PYTHON
}

echo "== tests"
tail -n 15 "$out/tests.txt"
table gradients-checkpointing heed.bench.gradients gradient_table
table gradients-plain heed.bench.gradients gradient_table
table step heed.bench.step step_table
table generate heed.bench.generate generate_table
echo
echo "== vocabulary"
tail -qn 3 "$out/vocabulary.json" "$out/vocabulary.log"
echo
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "all checks passed in $SECONDS s; results in $out"
