"""Where the real Consul 1.8.7 and serf 0.9.4 come from: Debian 11 packages them as `consul` and `serf`.

PROCONSUL_REAL_CONSUL and PROCONSUL_REAL_SERF name executables; otherwise the package is taken from the Debian archive
this machine is set up for, with the suite exchanged, and unpacked under .cache/ in the checkout. Nothing gets
installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "real-consul"
SERF_CACHE = CACHE.with_name("real-serf")
EXECUTABLE = Path("usr", "bin", "consul")
SERF_EXECUTABLE = Path("usr", "bin", "serf")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
VERSION = "v1.8.7"
SERF_VERSION = "Agent Protocol: 5"
"""What serf 0.9.4 says of itself; its number is not among it in Debian's build."""


class NotAvailableError(Exception):
    """The real Consul cannot be had here; the text is the reason a skipped test shows."""


def find_real_consul() -> Path:
    """The executable. Raises NotAvailableError."""
    named = os.environ.get("PROCONSUL_REAL_CONSUL")
    if named:
        return _checked(Path(named))
    cached = CACHE / EXECUTABLE
    if not cached.exists():
        unpack_package("consul", CACHE)
    return _checked(cached)


def find_real_serf() -> Path:
    """The executable. Raises NotAvailableError."""
    named = os.environ.get("PROCONSUL_REAL_SERF")
    if named:
        return _checked(Path(named), SERF_VERSION)
    cached = SERF_CACHE / SERF_EXECUTABLE
    if not cached.exists():
        unpack_package("serf", SERF_CACHE)
    return _checked(cached, SERF_VERSION)


def _checked(binary: Path, version: str = VERSION) -> Path:
    try:
        answer = subprocess.run([binary, "version"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NotAvailableError(f"{binary} does not run: {error}") from None
    if version not in answer:
        raise NotAvailableError(f"{binary} is {answer.splitlines()[:1]}, not {version}")
    return binary


def unpack_package(package: str, target: Path) -> None:
    """A package of Debian 11 as files below `target`, which is there afterwards. Raises NotAvailableError."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NotAvailableError(f"{package}: no {tool} here to fetch Debian 11's package with")
    if not KEYRING.exists():
        raise NotAvailableError(f"{package}: {KEYRING} is missing, the package could not be verified")
    archive = _debian_archive(package)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch_name:
        scratch = Path(scratch_name)
        sources = scratch / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {archive} bullseye main\n")
        (scratch / "lists" / "partial").mkdir(parents=True)
        (scratch / "cache" / "archives" / "partial").mkdir(parents=True)
        settings = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": scratch / "lists",
            "Dir::Cache": scratch / "cache",
            "Acquire::http::Timeout": "20",
            "Acquire::Retries": "1",
        }
        if os.geteuid() == 0:
            settings["APT::Sandbox::User"] = "root"
        options = [f"-o{key}={value}" for key, value in settings.items()]
        _run(["apt-get", *options, "-qq", "update"], scratch, timeout_s=120)
        _run(["apt-get", *options, "-qq", "download", package], scratch, timeout_s=240)
        packages = list(scratch.glob(f"{package}_*.deb"))
        if not packages:
            raise NotAvailableError(f"{package}: the archive offers no package of this name for bullseye")
        unpacked = scratch / "unpacked"
        _run(["dpkg", "-x", str(packages[0]), str(unpacked)], scratch, timeout_s=60)
        try:
            unpacked.rename(target)
        except OSError:  # another run was faster
            if not target.is_dir():
                raise


def _debian_archive(package: str) -> str:
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))]
    text = "\n".join(path.read_text("utf-8", "replace") for path in files if path.exists())
    for line in text.splitlines():
        if line.startswith(("deb ", "URIs:")):
            match = re.search(r"https?://\S+/debian/?(?=\s|$)", line)
            if match:
                return match[0]
    raise NotAvailableError(f"{package}: apt has no Debian archive configured on this machine")


def _run(command: list[str], directory: Path, timeout_s: float) -> None:
    try:
        subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=timeout_s, check=True)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or error.stdout or "").strip().splitlines()[-1:] or [f"exit code {error.returncode}"]
        raise NotAvailableError(f"package of Debian 11: {command[0]} failed: {reason[0]}") from None
    except subprocess.TimeoutExpired:
        raise NotAvailableError(f"package of Debian 11: {command[0]} took more than {timeout_s:.0f} s") from None
