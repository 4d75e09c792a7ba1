"""Keyring files: serf/local.keyring and serf/remote.keyring, JSON arrays of base64 keys, the primary one first.

An agent that is to keep its keys in memory has a file in its run directory, marked with the run of the agent: there
this process finds them again when it alone is restarted."""

import base64
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from services.gossip.codec.keyring import Keyring, KeyringError
from services.gossip.pool_settings import PoolName, PoolSettings, pool_settings
from shared.config.runtime import RuntimeConfig
from shared.gotext import base64_text, json_syntax
from shared.log import get_logger
from shared.service import StartError


def load_keyrings(config: RuntimeConfig, pools: Iterable[PoolName]) -> dict[PoolName, Keyring | None]:
    """The keys with which pools start, None for one that is not encrypted. Raises StartError in Consul's words.

    A file that exists wins over `encrypt`; without one it is made from that key."""
    in_order = sorted(pools)
    settings = {name: pool_settings(config, name, encrypted=False) for name in in_order}
    lasting = {name: one.keyring_file for name, one in settings.items() if one.keyring_file and not one.keyring_run}
    try:
        existing = {name for name, path in lasting.items() if os.path.exists(path)}
        for name, path in lasting.items():
            if config.encrypt and name not in existing:
                _init(path, config.encrypt)
        keyrings = {
            name: _load(lasting[name]) if name in lasting else _of_this_run(settings[name], config.encrypt)
            for name in in_order
        }
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


def _of_this_run(settings: PoolSettings, encrypt_key: str) -> Keyring | None:
    """Keys that are kept in memory: those this run of the agent had last. Raises KeyringError."""
    if not encrypt_key:
        return None
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, KeyringError):
        with open(settings.keyring_file, encoding="utf-8") as file:
            found = json.load(file)
        if found["run"] == settings.keyring_run:
            return Keyring(map(_bytes, found["keys"]))
    return Keyring([_bytes(encrypt_key)])  # as at the start


def _load(path: str) -> Keyring | None:
    """Raises KeyringError."""
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


def save_keyring(path: str, run: str, keyring: Keyring) -> str | None:
    """Store the keys, as Serf lays the file out or marked with the run of the agent. An error text, or None."""
    if not path:
        return None
    keys = [base64.b64encode(key).decode() for key in keyring.keys]
    try:
        write_atomically(path, json.dumps({"run": run, "keys": keys}) if run else json.dumps(keys, indent=2))
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
