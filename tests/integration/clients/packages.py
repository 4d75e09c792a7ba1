"""Programs and libraries of others that talk to Consul, fetched for tests and kept under .cache/ in the checkout.

Nothing gets installed: Python packages go to a directory each (both clients call themselves `consul`), npm packages to
another, Debian packages are unpacked. NotAvailableError says why something cannot be had; its test is skipped then."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.real_consul import NotAvailableError, unpack_package

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "clients"
PYTHON_CLIENTS = {"py-consul": "1.8.0", "python-consul2": "0.1.5"}
NPM_CLIENT = ("consul", "2.0.1")
TIMEOUT_S = 180


def python_client(name: str) -> Path:
    """What PYTHONPATH must be to import the client `name` as `consul`."""
    wanted = f"{name}=={PYTHON_CLIENTS[name]}"

    def fetch(directory: Path) -> None:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory), wanted], directory.parent)

    return _cached(wanted, fetch)


def npm_client() -> Path:
    """The directory that has the client in its node_modules."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NotAvailableError("npm client: there is no npm or no node here")
    wanted = "@".join(NPM_CLIENT)

    def fetch(directory: Path) -> None:
        directory.mkdir()
        (directory / "package.json").write_text(json.dumps({"private": True}))
        _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", wanted], directory)

    return _cached(f"npm-{wanted}", fetch)


def debian_program(package: str, executable: str) -> Path:
    """A program out of a package of Debian 11."""
    kept = CACHE / f"deb-{package}"
    if not kept.is_dir():
        unpack_package(package, kept)
    return kept / executable


def _cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """`fetch` fills a directory that becomes the cached one only when it is complete."""
    kept = CACHE / name
    if kept.is_dir():
        return kept
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        made = Path(scratch) / "made"
        fetch(made)
        try:
            made.rename(kept)
        except OSError:  # another run was faster
            if not kept.is_dir():
                raise
    return kept


def _run(command: list[str], directory: Path) -> None:
    try:
        subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines() or [f"exit code {error.returncode}"]
        raise NotAvailableError(f"{' '.join(command[-2:])}: {lines[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAvailableError(f"{' '.join(command[-2:])}: {error}") from None
