"""Requests to one endpoint from a seed: right ones, and wrong ones that differ from a right one in one or two ways."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.integration.differential.exchange import Request
from tests.integration.differential.generated import bodies
from tests.integration.differential.generated.endpoints import Endpoint

_METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW", "get")
_ANY_QUERY = (
    "pretty",
    "pretty=false",
    "nope=1",
    "stale",
    "consistent",
    "stale&consistent",
    "stale&max_stale=10s",
    "max_stale=x",
    "dc=dc1",
    "dc=nope",
    "dc=",
    "dc=d%C3%A9",
    "ns=default",
    "ns=team",
    "ns=",
    "ns=*",
    "index=",
    "index=0",
    "index=x",
    "index=-1",
    "index=1.5",
    "index=18446744073709551616",
    "wait=x",
    "wait=5",
    "wait=10ms",
    "wait=-5s",
    "token=",
    "token=anonymous",
    "token=nope&token=second",
    "node-meta=a",
    "node-meta=:b",
    "node-meta=rack:a&node-meta=x:y",
    "near=",
    "near=nowhere",
    "%zz",
    "=",
    "&&",
    ";a=b",
    "a;b=c",
    "%00",
    "é=☃",
    "pretty&pretty",
    "PRETTY",
    "+=+",
)
_FILTERS = (
    "",
    "%20",
    "Nope==1",
    "Nope",
    "((",
    "not",
    "%22",
    "a==%22b",
    "==",
    "1==1",
    "Meta.x==1",
    "Meta[%22x%22]==1",
    "ID%20is%20empty",
    "x%20in%20Tags",
    "%22v1%22%20in%20ServiceTags",
    "Node%20matches%20%22(%22",
    "Name%20contains%20a",
    "%C3%A9==1",
    "%ff==1",
    "a%00b",
)
_HEADERS: tuple[tuple[str, str], ...] = (
    ("X-Consul-Token", "nope"),
    ("X-Consul-Token", ""),
    ("Authorization", "Bearer nope"),
    ("Authorization", "Bearer"),
    ("Authorization", "Basic bm9wZTpub3Bl"),
    ("X-Consul-Namespace", "team"),
    ("X-Consul-Namespace", "default"),
    ("Content-Type", "text/plain"),
    ("Accept", "text/html"),
    ("Accept-Encoding", "gzip"),
    ("Accept-Encoding", "gzip;q=0"),
    ("Range", "bytes=0-3"),
    ("If-None-Match", "*"),
    ("X-Consul-Index", "7"),
)
_ODD_PARTS = (
    "%2F",
    "%20",
    "a%20b",
    "a+b",
    "%C3%A9",
    "é",
    "%ff",
    "%zz",
    "%00",
    "..",
    "%2e%2e",
    ".",
    "/",
    "x/y",
    "x/",
    "\\",
    "a;b",
    "a:b@c",
    "*",
    "%25",
    "%3F",
    "'\"<>",
    "n" * 300,
)

Spoil = Callable[[Endpoint, random.Random, Request], Request]


def requests(endpoint: Endpoint, seed: str, count: int) -> list[Request]:
    """`count` different requests if there are so many. The first are right ones of every kind."""
    rng = random.Random(f"{seed} {endpoint.path} {endpoint.query} {endpoint.methods}")
    found = {str(request) + repr(request.body): request for request in _right(endpoint)}
    for _ in range(20 * count):
        if len(found) >= count:
            break
        request = _base(endpoint, rng)
        for _ in range(rng.choice((1, 1, 1, 2))):
            request = rng.choice(_spoils(endpoint))(endpoint, rng, request)
        if request.method not in endpoint.never or endpoint.path.split("?")[0] not in request.path:
            found.setdefault(str(request) + repr(request.body), request)
    return list(found.values())


def _right(endpoint: Endpoint) -> Iterator[Request]:
    for method in endpoint.methods:
        if method in endpoint.never:
            continue
        for part in endpoint.parts or ("",):
            yield _request(endpoint, method, part)
        for query in endpoint.query:
            yield _request(endpoint, method, (endpoint.parts or ("",))[0], query)


def _request(endpoint: Endpoint, method: str, part: str, query: str = "") -> Request:
    body = b""
    if method in ("PUT", "POST") and endpoint.body is not None:
        body = endpoint.body if isinstance(endpoint.body, bytes) else json.dumps(endpoint.body).encode()
    path = endpoint.path + part + ("?" + query if query else "")
    return Request(method, path, body, unordered=endpoint.unordered, shape=endpoint.shape)


def _base(endpoint: Endpoint, rng: random.Random) -> Request:
    method = rng.choice(endpoint.methods)
    part = rng.choice((*endpoint.parts[:1], *endpoint.parts)) if endpoint.parts else ""
    query = rng.choice(endpoint.query) if endpoint.query and rng.random() < 0.4 else ""
    return _request(endpoint, method, part, query)


def _spoils(endpoint: Endpoint) -> list[Spoil]:
    ways: list[Spoil] = [_query, _query, _header, _method, _path]
    if endpoint.field is not None:
        ways += [_filter, _filter]
    if endpoint.blocking:
        ways.append(_wait)
    if endpoint.body is not None:
        ways += [_body] * (8 if not isinstance(endpoint.body, bytes) else 2)
    elif endpoint.writes:
        ways.append(_body)
    return ways


def _with_query(request: Request, query: str) -> Request:
    return replace(request, path=request.path + ("&" if "?" in request.path else "?") + query)


def _query(_endpoint: Endpoint, rng: random.Random, request: Request) -> Request:
    return _with_query(request, rng.choice(_ANY_QUERY))


def _filter(endpoint: Endpoint, rng: random.Random, request: Request) -> Request:
    right = str(endpoint.field)
    name, _, value = right.partition("==")
    made = (right, f"{name}!={value}", f"not%20{right}", f"{right}%20and%20{right}", f"({right})%20or%20{name}==x")
    return _with_query(request, "filter=" + rng.choice((*made, *_FILTERS)))


def _wait(_endpoint: Endpoint, rng: random.Random, request: Request) -> Request:
    """A wait that ends soon. The first of several parameters of a name counts."""
    if "wait=" in request.path:
        return request
    index = rng.choice(("1", "999999", "9223372036854775807", "18446744073709551615"))
    return _with_query(request, f"index={index}&wait={rng.choice(('1ms', '10ms', '20ms'))}")


def _header(_endpoint: Endpoint, rng: random.Random, request: Request) -> Request:
    return replace(request, headers=(*request.headers, rng.choice(_HEADERS)))


def _method(endpoint: Endpoint, rng: random.Random, request: Request) -> Request:
    return replace(request, method=rng.choice([each for each in _METHODS if each not in endpoint.never]))


def _path(endpoint: Endpoint, rng: random.Random, request: Request) -> Request:
    path, mark, query = request.path.partition("?")
    bare = endpoint.path.rstrip("/")
    odd = rng.choice(_ODD_PARTS)
    made = rng.choice(
        (
            bare,
            bare + "/",
            bare + "//",
            bare + "x",
            f"{bare}/{odd}",
            f"{bare}/{odd}",
            f"{bare}/{odd}",
            f"{path}{odd}" if "$" not in path else f"{path}//",
            f"{path}/extra",
            path.replace("/v1/", "/v1//", 1),
            path.replace("/v1/", "/v1/./", 1),
            path.replace("/v1/", "//v1/", 1),
            path.upper() if "$" not in path else bare.upper(),
        )
    )
    return replace(request, path=made + mark + query)


def _body(endpoint: Endpoint, rng: random.Random, request: Request) -> Request:
    method = next((each for each in ("PUT", "POST") if each in endpoint.methods), request.method)
    return replace(request, method=method, body=bodies.spoilt(endpoint.body, rng))
