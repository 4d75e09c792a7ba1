"""Gossip encryption: AES-GCM with an ordered list of keys. The first key encrypts, all of them may decrypt."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from services.gossip.codec.errors import PacketError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZES: Final = (16, 24, 32)
_NONCE = 12
_TAG = 16
_BLOCK = 16
OVERHEAD: Final = 1 + _NONCE + _TAG  # bytes that encryption adds to a packet (version 1)


class KeyringError(Exception):
    """A key operation that cannot be done; the text is what Consul's users see."""


def check_key(key: bytes) -> None:
    if len(key) not in KEY_SIZES:
        raise KeyringError("key size must be 16, 24 or 32 bytes")


class Keyring:
    """The installed keys, primary first.

    cryptography (10 MB and 30 ms) is imported with the first key: agents without encryption never pay for it."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            self.add(key)
        if not self._ciphers:
            raise KeyringError("Empty primary key not allowed")

    @property
    def keys(self) -> list[bytes]:
        return list(self._ciphers)

    @property
    def primary(self) -> bytes:
        return next(iter(self._ciphers))

    def add(self, key: bytes) -> None:
        """Install a key behind the others; an installed one stays where it is."""
        check_key(key)
        if key not in self._ciphers:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            # A new dict: streams may be decrypting with the old one in a thread.
            self._ciphers = {**self._ciphers, key: AESGCM(key)}

    def use(self, key: bytes) -> None:
        """Make an installed key the primary one."""
        if key not in self._ciphers:
            raise KeyringError("Requested key is not in the keyring")
        self._ciphers = {key: self._ciphers[key], **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Forget a key; one that is not installed is fine."""
        if key == self.primary:
            raise KeyringError("Removing the primary key is not allowed")
        self._ciphers = {known: cipher for known, cipher in self._ciphers.items() if known != key}

    def encrypt(self, plain: bytes, associated: bytes | None = None, nonce: bytes | None = None) -> bytes:
        """Version 1: version byte, nonce, ciphertext, tag."""
        nonce = nonce or os.urandom(_NONCE)
        return b"\x01" + nonce + self._ciphers[self.primary].encrypt(nonce, plain, associated)

    def decrypt(self, payload: bytes | memoryview, associated: bytes | None = None) -> bytes:
        """Version 0 (padded to 16) or 1. Raises PacketError with memberlist's own texts."""
        from cryptography.exceptions import InvalidTag

        if not payload:
            raise PacketError("Cannot decrypt empty payload")
        version = payload[0]
        if version > 1:
            raise PacketError(f"Unsupported encryption version {version}")
        smallest = OVERHEAD + (_BLOCK if version == 0 else 0)
        if len(payload) < smallest:
            raise PacketError(f"Payload is too small to decrypt: {len(payload)}")
        nonce, sealed = bytes(payload[1 : 1 + _NONCE]), bytes(payload[1 + _NONCE :])
        for cipher in self._ciphers.values():
            try:
                plain = cipher.decrypt(nonce, sealed, associated)
            except InvalidTag:
                continue
            return _unpad(plain) if version == 0 else plain
        raise PacketError("No installed keys could decrypt the message")


def _unpad(plain: bytes) -> bytes:
    count = plain[-1] if plain else 0
    if not 1 <= count <= _BLOCK or count > len(plain):
        raise PacketError("Invalid padding in the decrypted message")
    return plain[:-count]
