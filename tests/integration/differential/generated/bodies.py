"""Bodies that differ from a good one: no JSON, JSON of another type, a value exchanged, added, renamed or left out."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

_RAW = (
    b"",
    b" ",
    b"\n",
    b"null",
    b"true",
    b"0",
    b"-",
    b"1.5",
    b'"x"',
    b'"',
    b"[]",
    b"[null]",
    b"[1]",
    b"[[]]",
    b"[{}]",
    b"{}",
    b"{",
    b"}",
    b"{]",
    b'{"a"}',
    b'{"a":}',
    b'{"a":1,}',
    b"{'a':1}",
    b'{"a":1}x',
    b'{"":""}',
    b'{"a":"\xff\xfe"}',
    b'{"a":"\\ud800"}',
    b'{"a":"\\x"}',
    b'{"a":"\x01"}',
    b'{"a":01}',
    b'{"a":NaN}',
    b'{"a":1e999}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe",
    b"\x00",
    b"nonsense",
    b"nul",
    b"truefalse",
    b"<a/>",
    b"a=b&c=d",
    b"[" * 60 + b"]" * 60,
    b'{"a":' * 60 + b"1" + b"}" * 60,
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    5,
    1.5,
    70000,
    2**31,
    2**63,
    2**64,
    1e300,
    "",
    " ",
    "x",
    "é☃",
    "a/b c",
    "10s",
    "-5s",
    "5",
    "true",
    "x" * 600,
    "0.0.0.0",
    "fd00::1",
    "11111111-2222-3333-4444-555555555555",
    [],
    [None],
    ["a"],
    [1],
    [[]],
    [{}],
    {},
    {"a": "b"},
    {"a": 1},
    {"a": None},
    {"a": {"b": []}},
    {"": ""},
    {"Name": "x"},
)
Path = tuple[str | int, ...]


def spoilt(good: Any, rng: random.Random) -> bytes:
    """Bytes made of `good` (an object, a list, bytes, or None if the endpoint takes no body)."""
    if good is None or isinstance(good, bytes) or rng.random() < 0.2:
        return rng.choice((*_RAW, *(() if good is None else (bytes(600), b"x" * 5000))))
    body = copy.deepcopy(good)
    for _ in range(rng.choice((1, 1, 1, 2))):
        path = rng.choice([path for path in _paths(body) if path] or [()])
        if path:
            rng.choice(_WAYS)(body, path, rng)
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass") + rng.choice((b"", b"", b"", b"\n", b" {}", b"x"))


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _paths(item, (*path, number))


def _holder(body: Any, path: Path) -> Any:
    for step in path[:-1]:
        body = body[step]
    return body


def _exchange(body: Any, path: Path, rng: random.Random) -> None:
    _holder(body, path)[path[-1]] = copy.deepcopy(rng.choice(_VALUES))


def _leave_out(body: Any, path: Path, _rng: random.Random) -> None:
    del _holder(body, path)[path[-1]]


def _rename(body: Any, path: Path, rng: random.Random) -> None:
    """Another spelling of the key: some are the same to Consul, some are unknown."""
    holder, key = _holder(body, path), path[-1]
    if not isinstance(key, str):
        return
    spellings = (key.lower(), key.upper(), key.swapcase(), _snake(key), key + "s", key[:-1], "\u017f" + key[1:], "Nope")
    holder[rng.choice(spellings)] = holder.pop(key)


def _add(body: Any, path: Path, rng: random.Random) -> None:
    holder = _holder(body, path)
    if isinstance(holder, dict):
        key = rng.choice(("Nope", "Namespace", "CreateIndex", "ID", "id", "", "é", "Token", "Kind", "RaftIndex"))
        holder[key] = copy.deepcopy(rng.choice(_VALUES))
    else:
        holder.insert(0, copy.deepcopy(rng.choice(_VALUES)))


def _twice(body: Any, path: Path, rng: random.Random) -> None:
    """The same key again in other letters: the last one counts. (Go merges objects; we take the last one whole.)"""
    holder, key = _holder(body, path), path[-1]
    if isinstance(key, str) and not isinstance(holder[key], dict | list):
        value = rng.choice([each for each in (holder[key], *_VALUES) if not isinstance(each, dict | list)])
        holder[rng.choice((key.lower(), key.upper()))] = value


def _snake(key: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in key).lstrip("_")


_WAYS: tuple[Callable[[Any, Path, random.Random], None], ...] = (
    _exchange,
    _exchange,
    _exchange,
    _exchange,
    _leave_out,
    _rename,
    _add,
    _twice,
)
