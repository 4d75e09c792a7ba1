#!/usr/bin/env bash
# Runs every check of the project: ruff (rules and format), mypy --strict, the import rules, pytest. Sets up .venv first.
# Arguments go to pytest: tests/run.sh -k raft, tests/run.sh --long. With --only-tests, pytest alone runs.
# Four test files run at a time, as most tests wait for processes more than they compute; -n 0 runs one by one.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
. "$root/deploy/venv.sh"

ensure_venv "[dev]"
cd "$root"

failed=()
check() { # title, command...
    local title=$1
    printf '== %s\n' "$title"
    shift
    "$@" || failed+=("$title")
}

check_text() { # what needs no running agent; fails if any of it does
    check "ruff" "$venv/bin/ruff" check .
    check "format" "$venv/bin/ruff" format --check --quiet .
    check "mypy --strict" "$venv/bin/python" -m mypy
    check "import rules" "$venv/bin/lint-imports" --no-cache
    [ ${#failed[@]} -eq 0 ]
}

said=""
if [ "${1:-}" = --only-tests ]; then
    shift
else
    # Beside the tests, which wait more than they compute; shown after them.
    said=$(mktemp)
    trap 'rm -f "$said"' EXIT
    check_text >"$said" 2>&1 &
    text=$!
fi
check "pytest" "$venv/bin/python" -m pytest -rsfE -n 4 --dist loadfile "$@"
if [ -n "$said" ]; then
    wait "$text" || failed+=("checks of the text")
    cat "$said"
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
    exit 1
fi
