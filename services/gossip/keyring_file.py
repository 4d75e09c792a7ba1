"""Keyring files: serf/local.keyring and serf/remote.keyring, JSON arrays of base64 keys, the primary one first."""

import base64
import binascii
import json
import os

from services.gossip.codec.keyring import Keyring, KeyringError
from shared.log import get_logger
from shared.service import StartError


def load_keyring(path: str, encrypt_key: str, title: str) -> Keyring | None:
    """The keys a pool starts with, None if it is not encrypted. Raises StartError.

    path: the keyring file, "" keeps keys in memory only. A file that exists wins over `encrypt_key`; without one
    it is made from that key."""
    if not path:
        return Keyring([_decoded(encrypt_key, "encrypt")]) if encrypt_key else None
    exists = os.path.exists(path)
    if not exists:
        if not encrypt_key:
            return None
        _decoded(encrypt_key, "encrypt")
        write_atomically(path, json.dumps([encrypt_key]))
    keyring = _read(path)
    if exists and encrypt_key and _decoded(encrypt_key, "encrypt") not in keyring.keys:
        get_logger("agent").warn(
            " keyring doesn't include key provided with -encrypt, using keyring", keyring=title
        )
    return keyring


def save_keyring(path: str, keyring: Keyring) -> str | None:
    """Store the keys, as Serf lays the file out. An error text, or None."""
    if not path:
        return None
    keys = [base64.b64encode(key).decode() for key in keyring.keys]
    try:
        write_atomically(path, json.dumps(keys, indent=2))
    except OSError as error:
        return f"Failed to write keyring file: {error}"
    return None


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


def _read(path: str) -> Keyring:
    try:
        with open(path, encoding="utf-8") as file:
            keys = json.load(file)
    except (OSError, ValueError) as error:
        raise StartError(f"Failed to configure keyring: {path}: {error}") from None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise StartError(f"Failed to configure keyring: {path}: want a JSON array of base64 keys")
    if not keys:
        raise StartError(f"Failed to configure keyring: no keys present in keyring: {path}")
    return Keyring([_decoded(key, path) for key in keys])


def _decoded(key: str, where: str) -> bytes:
    try:
        decoded = base64.b64decode(key, validate=True)
        Keyring([decoded])
    except (binascii.Error, ValueError, KeyringError) as error:
        raise StartError(f"Failed to configure keyring: {where}: {error}") from None
    return decoded
