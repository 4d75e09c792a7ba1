#!/usr/bin/env bash
# Starts a dev agent from this checkout: a server in memory on loopback. Sets up .venv first when there is none.
# All arguments go to the agent: deploy/run-dev.sh -client 127.0.0.2 -log-level info
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
. "$root/deploy/venv.sh"

ensure_venv ""
exec "$venv/bin/proconsul" agent -dev "$@"
