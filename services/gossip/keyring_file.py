"""Keyring files: serf/local.keyring and serf/remote.keyring, JSON arrays of base64 keys, the primary one first."""

import base64
import json
import os
from collections.abc import Iterable
from typing import Any

from services.gossip.codec.keyring import Keyring, KeyringError
from services.gossip.pool_settings import PoolName, pool_settings
from shared.config.runtime import RuntimeConfig
from shared.gotext import base64_text, json_syntax
from shared.log import get_logger
from shared.service import StartError


def load_keyrings(config: RuntimeConfig, pools: Iterable[PoolName]) -> dict[PoolName, Keyring | None]:
    """The keys with which pools start, None for one that is not encrypted. Raises StartError in Consul's words.

    A file that exists wins over `encrypt`; without one it is made from that key. Without files the keys are kept
    in memory only."""
    in_order = sorted(pools)
    files = {name: pool_settings(config, name, encrypted=False).keyring_file for name in in_order}
    try:
        existing = {name for name in in_order if files[name] and os.path.exists(files[name])}
        for name in in_order:
            if files[name] and config.encrypt and name not in existing:
                _init(files[name], config.encrypt)
        keyrings = {name: _load(files[name], config.encrypt) for name in in_order}
    except KeyringError as error:
        raise StartError(f"Failed to configure keyring: {error}") from None
    for name in in_order:
        keyring = keyrings[name]
        if config.encrypt and name in existing and keyring is not None and _bytes(config.encrypt) not in keyring.keys:
            get_logger("agent").warn(
                " keyring doesn't include key provided with -encrypt, using keyring", keyring=name.upper()
            )
    return keyrings


def _init(path: str, key: str) -> None:
    """Raises KeyringError."""
    try:
        Keyring([_bytes(key)])
    except KeyringError as error:
        raise KeyringError(f"Invalid key: {error}") from None
    try:
        write_atomically(path, json.dumps([key]))
    except OSError as error:
        raise KeyringError(_failure("open", path, error)) from None


def _load(path: str, encrypt_key: str) -> Keyring | None:
    """Raises KeyringError."""
    if not path:
        return Keyring([_bytes(encrypt_key)]) if encrypt_key else None
    if not os.path.exists(path):
        return None
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        operation = "read" if isinstance(error, IsADirectoryError) else "open"
        raise KeyringError(_failure(operation, path, error)) from None
    keys = [_bytes(key) for key in _texts(data)]
    if not keys:
        raise KeyringError(f"no keys present in keyring: {path}")
    return Keyring(keys)


def _texts(data: bytes) -> list[str]:
    """A JSON array of texts. Raises KeyringError with the words of Go's decoder."""
    try:
        json_syntax.check(data)
    except json_syntax.JsonSyntaxError as error:
        raise KeyringError(str(error)) from None
    found = json.loads(data.decode("utf-8", "replace"))
    if found is None:
        return []
    if not isinstance(found, list):
        raise _mismatch(found, "[]string")
    for key in found:
        if not isinstance(key, str | None):
            raise _mismatch(key, "string")
    return [key or "" for key in found]


def _mismatch(value: Any, wanted: str) -> KeyringError:
    from shared.structs.json_decode import json_kind

    return KeyringError(f"json: cannot unmarshal {json_kind(value)} into Go value of type {wanted}")


def _bytes(key: str) -> bytes:
    try:
        return base64_text.decode(key.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise KeyringError(str(error)) from None


def save_keyring(path: str, keyring: Keyring) -> str | None:
    """Store the keys, as Serf lays the file out. An error text, or None."""
    if not path:
        return None
    keys = [base64.b64encode(key).decode() for key in keyring.keys]
    try:
        write_atomically(path, json.dumps(keys, indent=2))
    except OSError as error:
        return f"Failed to write keyring file: {_failure('open', path, error)}"
    return None


def _failure(operation: str, path: str, error: OSError) -> str:
    return f"{operation} {path}: {(error.strerror or str(error)).lower()}"


def write_atomically(path: str, text: str) -> None:
    """Replace a file; readers and crashes see the old or the new content. Mode 0600."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
