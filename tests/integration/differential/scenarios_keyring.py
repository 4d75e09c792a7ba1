"""Requests about the keys of gossip encryption, right and wrong ones, in the order they are to be sent."""

from __future__ import annotations

from tests.integration.differential.exchange import Request
from tests.integration.differential.scenarios import delete, get, put

PATH = "/v1/operator/keyring"
FIRST = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
"""The key with which the agents start."""
SECOND = "EBESExQVFhcYGRobHB0eHw=="
THIRD = "ICEiIyQlJicoKSorLC0uLw=="
UNKNOWN = "AAAAAAAAAAAAAAAAAAAAAA=="


def post(path: str, body: str = "") -> Request:
    return Request("POST", path, body.encode())


def key(text: str) -> str:
    return f'{{"Key":"{text}"}}'


REQUESTS: list[Request] = [
    get(PATH),
    get(f"{PATH}?local-only=true"),
    get(f"{PATH}?local-only=1&pretty"),
    get(f"{PATH}?local-only="),
    get(f"{PATH}?relay-factor=5"),
    get(f"{PATH}?relay-factor=%2b2"),
    get(f"{PATH}?dc=nope"),
    get(f"{PATH}?token=unknown"),
    get(f"{PATH}?ns=team"),
    get(f"{PATH}?index=5&wait=1"),
    get(f"{PATH}?stale&consistent"),
    # wrong ones
    get(f"{PATH}?local-only=maybe"),
    get(f"{PATH}?relay-factor=6"),
    get(f"{PATH}?relay-factor=-1"),
    get(f"{PATH}?relay-factor=x&local-only=maybe"),
    get(f"{PATH}?relay-factor=0x1"),
    get(f"{PATH}?relay-factor=99999999999999999999"),
    get(f"{PATH}/"),
    Request("HEAD", PATH),
    Request("PATCH", PATH),
    Request("OPTIONS", PATH),
    put(f"{PATH}?local-only=true", key(SECOND)),
    put(f"{PATH}?relay-factor=6", key(SECOND)),
    post(PATH),
    post(PATH, "null"),
    post(PATH, "{}"),
    post(PATH, "[]"),
    post(PATH, '"text"'),
    post(PATH, '{"key":7}'),
    post(PATH, '{"Key":"x","Nope":1}'),
    post(PATH, '{"Key":'),
    post(PATH, '{"Key":"x","RelayFactor":300}'),
    post(PATH, '{"Key":"x","RelayFactor":-1}'),
    post(PATH, '{"Key":"x","RelayFactor":1.5}'),
    post(PATH, '{"Key":"x","LocalOnly":"yes"}'),
    post(PATH, key("short")),
    post(PATH, key("c2hvcnQ=")),
    post(PATH, key("c2hvcnQ")),
    post(PATH, key("ä")),
    post(PATH, key("A" * 1600)),
    put(PATH, key(UNKNOWN)),
    # a rotation
    post(PATH, f'{{"KEY":"{SECOND}"}} trailing'),
    post(PATH, key(SECOND)),
    get(PATH),
    put(PATH, f'{{"Key":"{SECOND}","LocalOnly":true,"RelayFactor":9,"Token":"t"}}'),
    get(PATH),
    delete(PATH, key(SECOND)),
    delete(f"{PATH}?relay-factor=3", key(FIRST)),
    delete(PATH, key(FIRST)),
    delete(PATH, key(UNKNOWN)),
    get(PATH),
    # and back
    post(PATH, key(f"{FIRST[:20]}\\n{FIRST[20:]}")),
    put(PATH, key(FIRST)),
    delete(PATH, key(SECOND)),
    get(f"{PATH}?local-only=true"),
]
