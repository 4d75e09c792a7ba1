"""Which generation of the store is current: a small file that is mapped, never replaced.

A store that is rebuilt (distrusted after a reboot, or restored from a snapshot) becomes a new LMDB
environment in a directory of its own; readers notice by this number, which costs them no system call. The
page also says in which boot it was published and for which file, so that nobody maps what a reboot or a copy
has left behind before raft_node has looked at it."""

from __future__ import annotations

import mmap
import os
from hashlib import blake2b
from pathlib import Path
from struct import Struct as Packing

from shared.state.files import reserve

FILE = "generation"
_BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
_PAGE = Packing("<QQQQ16s")  # current number (0: none), last number ever, device, inode, boot id


def environment_path(directory: str, number: int) -> str:
    """Directory of the LMDB environment of one generation."""
    return str(Path(directory, f"store-{number:08x}"))


def read_boot_id() -> str:
    """The kernel's id of this boot."""
    return Path(_BOOT_ID_FILE).read_text().strip()


def file_identity(path: str) -> tuple[int, int]:
    """(device, inode) of an environment's data file: a copied directory is not the original.

    Raises FileNotFoundError."""
    found = os.stat(Path(path, "data.mdb"))
    return found.st_dev, found.st_ino


class GenerationPage:
    """The mapped page. `read` is the number of the generation to use, 0 while there is none."""

    def __init__(self, mapping: mmap.mmap) -> None:
        self._mapping = mapping

    @classmethod
    def create(cls, directory: str) -> GenerationPage:
        """Opens the page for writing, makes it if need be. Raises StateFullError."""
        fd = reserve(str(Path(directory, FILE)), _PAGE.size)
        try:
            return cls(mmap.mmap(fd, _PAGE.size))
        finally:
            os.close(fd)

    @classmethod
    def open(cls, directory: str) -> GenerationPage | None:
        """Maps the page for reading, None while it does not exist."""
        try:
            fd = os.open(str(Path(directory, FILE)), os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if os.fstat(fd).st_size < _PAGE.size:
                return None
            return cls(mmap.mmap(fd, _PAGE.size, prot=mmap.PROT_READ))
        finally:
            os.close(fd)

    def read(self) -> int:
        # An aligned copy of eight bytes; should it ever tear, the number names no directory and the
        # reader asks again.
        return int.from_bytes(self._mapping[:8], "little")

    def last_number(self) -> int:
        """The highest number ever in use; the next generation must be above it."""
        return int.from_bytes(self._mapping[8:16], "little")

    def vouches_for(self, path: str, boot_id: str) -> bool:
        """Whether the page was published in this boot for the very file in `path`."""
        _number, _last, device, inode, boot = _PAGE.unpack(self._mapping[: _PAGE.size])
        try:
            return boot == _boot_bytes(boot_id) and (device, inode) == file_identity(path)
        except FileNotFoundError:
            return False

    def publish(self, number: int, path: str, boot_id: str) -> None:
        """Points readers at a generation. The number goes in last."""
        last = max(number, self.last_number())
        page = _PAGE.pack(0, last, *file_identity(path), _boot_bytes(boot_id))
        self._mapping[8 : _PAGE.size] = page[8:]
        self._mapping[:8] = number.to_bytes(8, "little")

    def withdraw(self, last_number: int) -> None:
        """Tells readers that there is nothing to read now; `last_number` is not used again."""
        self._mapping[:16] = bytes(8) + max(last_number, self.last_number()).to_bytes(8, "little")


def _boot_bytes(boot_id: str) -> bytes:
    """A boot id as 16 bytes, whatever its spelling."""
    return blake2b(boot_id.encode(), digest_size=16).digest()
