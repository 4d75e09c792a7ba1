"""Cores do no I/O: no event loop, socket, database, thread or clock may be imported there (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORES = (
    *(f"services/{name}" for name in ("raft_node/core", "gossip/swim", "gossip/serf", "gossip/coordinate")),
    "shared/wire",
)
CORE_FILES = (
    *(
        f"services/rpc_core/local/{name}.py"
        for name in ("content_hash", "definitions", "exposed", "pushes", "same", "schedule", "sidecar", "state")
    ),
    *(f"services/rpc_core/client/{name}.py" for name in ("attempts", "server_list")),
    *(
        f"services/rpc_core/leader/autopilot/{name}.py"
        for name in ("health", "promotion", "protocol", "removal", "succession")
    ),
    *(f"services/rpc_core/leader/{name}.py" for name in ("raft_server", "reconcile", "session_timers", "tombstones")),
)
"""Cores that share a folder with their shells."""
FORBIDDEN = {"trio", "asyncio", "socket", "lmdb", "threading", "time", "secrets", "subprocess"}
SERVICES = ("supervisor", "raft_node", "gossip", "rpc_core", "dns_frontend", "http_gateway")
HEAVY = {"pydantic", "hcl2", "lark", "quart", "quart_trio", "flask", "jinja2", "hypercorn", "asyncio", "httpx2",
         "cryptography", "unittest"}  # fmt: skip


def imported_modules(path: Path) -> set[str]:
    """Full names of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def core_files() -> list[str]:
    folders = [file for core in CORES for file in Path(ROOT, core).rglob("*.py")]
    return sorted([*(str(file.relative_to(ROOT)) for file in folders), *CORE_FILES])


@pytest.mark.parametrize("path", core_files())
def test_a_core_does_no_io(path: str) -> None:
    imported = imported_modules(ROOT / path)
    assert {name.partition(".")[0] for name in imported}.isdisjoint(FORBIDDEN), path
    assert imported.isdisjoint({"shared.ipc", "shared.service"}), path


@pytest.mark.parametrize("path", core_files())
def test_a_core_draws_no_global_randomness(path: str) -> None:
    """`random.Random` may be named; the functions of the module draw from a generator nobody seeded."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
    }
    assert used <= {"Random"}, path


def test_every_core_exists() -> None:
    for core in CORES:
        assert list((ROOT / core).rglob("*.py")), core


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_without_heavy_libraries(service: str) -> None:
    """Six processes share one machine with the user's own: libraries for rare requests are imported when used."""
    code = f"import sys, services.{service}.__main__; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert loaded.isdisjoint(HEAVY), sorted(loaded & HEAVY)
