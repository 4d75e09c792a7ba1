"""Node id: given, persisted in the data directory, derived from the host, or random."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re

from shared.config.options import ConfigError

FILE_NAME = "node-id"
_HEX = re.compile(r"[0-9a-f]*")
_HOST_ID_FILES = (
    ("/sys/class/dmi/id/product_uuid", 36),
    ("/etc/machine-id", 32),
    ("/proc/sys/kernel/random/boot_id", 36),
)


def resolve_node_id(given: str, data_dir: str, disable_host_node_id: bool) -> str:
    """The id, which is written to the data directory when it is made there for the first time.

    Raises ConfigError in the words with which Consul refuses to start."""
    if given:
        return _checked(given.lower(), "specified NodeID is invalid")
    if not data_dir:
        return _make(disable_host_node_id)
    path = os.path.join(data_dir, FILE_NAME)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return _checked(file.read().strip().lower(), f"NodeID in {path} is invalid")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _setup_error(f"open {path}: {_reason(error)}") from error
    node_id = _make(disable_host_node_id)
    try:
        os.makedirs(data_dir, mode=0o755, exist_ok=True)
    except OSError as error:
        raise _setup_error(f"mkdir {error.filename}: {_reason(error)}") from error
    temporary = f"{path}.tmp"  # a full disk must not leave half an id, with which no later start would go on
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(node_id)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        reason = f"open {path}: {_reason(error)}"
        raise _setup_error(f"failed to write NodeID to disk: {reason}") from error
    return node_id


def _setup_error(reason: str) -> ConfigError:
    return ConfigError(f"failed to setup node ID: {reason}")


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno or 0)
    return text[:1].lower() + text[1:]


def _checked(node_id: str, complaint: str) -> str:
    """The id if it has the form of a UUID."""
    reason = None
    digits = node_id.replace("-", "")
    if len(node_id.encode()) != 36:
        reason = "uuid string is wrong length"
    elif any(node_id[at] != "-" for at in (8, 13, 18, 23)):
        reason = "uuid is improperly formatted"
    elif not _HEX.fullmatch(digits):
        odd = next(char for char in digits if not _HEX.fullmatch(char))
        reason = f"encoding/hex: invalid byte: U+{ord(odd):04X} '{odd}'"
    elif len(digits) != 32:
        reason = "decoded hex is the wrong length"
    if reason:
        raise _setup_error(f"{complaint}: {reason}")
    return node_id


def _make(disable_host_node_id: bool) -> str:
    host_id = None if disable_host_node_id else _host_id()
    if host_id is None:
        return _with_hyphens(os.urandom(16).hex())
    # Hashed, because cloud providers and board makers hand out ids that differ in a few digits only.
    return _with_hyphens(hashlib.sha512(host_id.lower().encode()).hexdigest()[:32])


def _host_id() -> str | None:
    """What identifies this machine, in the form of a UUID; in a container that is often the boot id."""
    for path, length in _HOST_ID_FILES:
        try:
            with open(path, encoding="ascii") as file:
                text = file.readline().strip()
        except (OSError, ValueError):
            continue
        if len(text) == length:
            return text if length == 36 else _with_hyphens(text)
    return None


def _with_hyphens(text: str) -> str:
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
