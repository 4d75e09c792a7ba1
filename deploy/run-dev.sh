#!/usr/bin/env bash
# Starts Consul for development from this checkout, and sets up .venv first when there is none.
#
#   deploy/run-dev.sh [AGENT FLAGS]     a dev agent: one server in memory, on loopback
#   deploy/run-dev.sh --servers 3       a cluster of agents, one loopback address each; add --help for more
#
# All other arguments go to the dev agent: deploy/run-dev.sh -client 127.0.0.2 -log-level info
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
. "$root/deploy/venv.sh"

ensure_venv ""
case "${1-}" in
    --servers | --servers=* | --clients | --clients=*)
        exec "$venv/bin/python" "$root/deploy/dev_cluster.py" "$@"
        ;;
esac
exec "$venv/bin/proconsul" agent -dev "$@"
