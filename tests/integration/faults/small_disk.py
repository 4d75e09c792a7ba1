"""A file system that is really full: a small tmpfs in a mount namespace of its own, which ends with this process.

    with SmallDisk(tmp_path / "disk", megabytes=48) as disk:
        agent = DiskAgent(disk, loopback(), tmp_path)       # an agent that sees it
        disk.fill(); disk.free()

Needs root, or a kernel that lets users make namespaces; elsewhere `NotAvailableError` says so."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.agents import Agent

_HOLD = 'for mount in $MOUNTS; do mkdir -p "${mount%%:*}" && mount -t tmpfs -o "size=${mount##*:}" tmpfs ' + (
    '"${mount%%:*}" || exit 1; done; echo mounted; exec cat'
)
"""The namespace lives as long as this shell's standard input: it is gone when the tests are, however they end."""


class NotAvailableError(Exception):
    """Nothing can be mounted here; the text is the reason a skipped test shows."""


class SmallDisk:
    """One tmpfs, or several: `sizes` maps a path below `root` to a size as mount takes it."""

    def __init__(self, root: Path, sizes: dict[str, str]) -> None:
        self.root = root
        self._sizes = sizes
        self._flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> SmallDisk:
        for tool in ("unshare", "nsenter"):
            if shutil.which(tool) is None:
                raise NotAvailableError(f"no {tool} here to make a mount namespace with")
        mounts = " ".join(f"{self.root / path}:{size}" for path, size in self._sizes.items())
        self._holder = subprocess.Popen(
            ["unshare", *self._flags, "--propagation", "private", "sh", "-c", _HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MOUNTS": mounts},
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            _, reason = self._holder.communicate(timeout=30)
            raise NotAvailableError(f"cannot mount a tmpfs of our own: {reason.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._holder is not None
        with contextlib.suppress(BrokenPipeError):
            self._holder.communicate(timeout=30)

    def enter(self) -> list[str]:
        """What a command is prefixed with to run where the disk is. The process stays the same."""
        assert self._holder is not None
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self._holder.pid}", "--mount", *user, "--"]

    def path(self, name: str) -> Path:
        """A path on the disk as it is seen from here."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{self.root / name}")

    def free_bytes(self, name: str) -> int:
        status = os.statvfs(self.path(name))
        return status.f_bavail * status.f_frsize

    def fill(self, name: str, leave: int = 0) -> None:
        """Takes all room but `leave` bytes on the file system that holds `name`."""
        filler = self.path(name) / "filler"
        size = self.free_bytes(name) - leave
        if size > 0:
            with open(filler, "ab") as file:
                os.posix_fallocate(file.fileno(), file.tell(), size)

    def free(self, name: str) -> None:
        """Gives the room back that `fill` took."""
        (self.path(name) / "filler").unlink(missing_ok=True)


class DiskAgent(Agent):
    """An agent whose data directory is on a SmallDisk, at `data_dir` below its root."""

    def __init__(self, disk: SmallDisk, address: str, directory: Path, **options: Any) -> None:
        super().__init__(address, directory, dev=False, **options)
        self._disk = disk
        self.data_dir = disk.root / "data"

    def command(self) -> list[str]:
        return [*self._disk.enter(), *super().command()]
