"""The Serf core: queries about keys, with encryption and without."""

import pytest
from gossip_rigs import SerfRig, answers, query

from services.gossip.codec.keyring import Keyring, KeyringError
from services.gossip.codec.serf_messages import (
    decode_key_response,
    encode_key_request,
    encode_serf,
)


def test_key_queries_change_the_ring_and_store_it() -> None:
    first, second = bytes(range(16)), bytes(range(32))
    ring = Keyring([first])
    rig = SerfRig(keyring=ring)

    def ask(operation: str, key: bytes, number: int) -> tuple[bool, str]:
        [answer] = answers(rig.hear_serf(query(f"_serf_{operation}", encode_key_request(key), id=number)))
        response = decode_key_response(answer.payload or b"")
        return response.result, response.message

    assert ask("install-key", second, 1) == (True, "")
    assert ask("install-key", second, 2) == (True, "")
    assert ask("install-key", b"short", 3) == (False, "key size must be 16, 24 or 32 bytes")
    assert ask("remove-key", first, 4) == (False, "Removing the primary key is not allowed")
    assert ask("use-key", b"x" * 16, 5) == (False, "Requested key is not in the keyring")
    assert ask("use-key", second, 6) == (True, "")
    assert ring.keys == [second, first]
    assert ask("remove-key", first, 7) == (True, "")
    assert ring.keys == [second]
    assert rig.saved == 4
    [answer] = answers(rig.hear_serf(query("_serf_list-keys", encode_key_request(b""), id=8)))
    response = decode_key_response(answer.payload or b"")
    assert response.keys == (response.primary_key,)
    [answer] = answers(rig.hear_serf(query("_serf_use-key", b"\x07junk", id=9)))
    assert decode_key_response(answer.payload or b"").result is False


def test_key_queries_without_encryption_say_so() -> None:
    rig = SerfRig()
    [answer] = answers(rig.hear_serf(query("_serf_list-keys", encode_key_request(b""))))
    assert decode_key_response(answer.payload or b"").message == "Keyring is empty (encryption not enabled)"
    [answer] = answers(rig.hear_serf(query("_serf_use-key", encode_key_request(bytes(16)), id=2)))
    assert decode_key_response(answer.payload or b"").message == "No keyring to modify (encryption not enabled)"


def test_a_long_list_of_keys_is_cut_to_fit_a_packet() -> None:
    rig = SerfRig(keyring=Keyring([bytes([n]) * 32 for n in range(60)]))
    [answer] = answers(rig.hear_serf(query("_serf_list-keys", encode_key_request(b""))))
    response = decode_key_response(answer.payload or b"")
    assert len(encode_serf(answer)) <= 1024
    assert response.keys is not None
    assert 5 < len(response.keys) < 60
    assert response.message == f"truncated key list response, showing first {len(response.keys)} of 60 keys"


def test_a_keyring_needs_a_key() -> None:
    with pytest.raises(KeyringError):
        Keyring([])
