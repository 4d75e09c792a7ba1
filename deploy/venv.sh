# Sourced by deploy/run-dev.sh and tests/run.sh: makes the checkout's virtual environment when it is missing or old.
#
# ensure_venv EXTRAS    EXTRAS is "" or "[dev]". Needs $root, the checkout. Leaves the interpreter in $venv/bin/python.
# The stamp inside it holds a digest of pyproject.toml, so that a changed dependency list installs again.

venv="${PROCONSUL_VENV:-$root/.venv}"

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$1" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and none was found (Debian 12: apt-get install python3 python3-venv); PYTHON=... names another one"
}

ensure_venv() {
    local extras=$1 stamp digest python
    stamp="$venv/.installed${extras//[^a-z]/}"
    digest=$(cksum <"$root/pyproject.toml")
    if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$digest" ]; then
        return
    fi
    mkdir -p "$(dirname "$venv")"
    exec 9>"$venv.lock"
    flock -w 600 9 || fail "another process is still setting up $venv"
    if [ ! -x "$venv/bin/python" ]; then
        python=$(find_python)
        "$python" -c 'import venv, ensurepip' 2>/dev/null ||
            fail "$python lacks the modules venv and ensurepip: apt-get install python3-venv"
        "$python" -m venv "$venv" || fail "could not create $venv"
    fi
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$digest" ]; then
        printf 'Installing proconsul into %s ...\n' "$venv" >&2
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
            fail "$venv has no pip: remove that directory and run this again (Debian: apt-get install python3-venv)"
        # The compat mode is a plain path entry; the default one runs an import hook in every process (15 ms).
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --config-settings editable_mode=compat -e "$root$extras" ||
            fail "installing the dependencies failed, see above; with the reason mended, run this again"
        printf '%s\n' "$digest" >"$stamp"
    fi
    exec 9>&-
}
