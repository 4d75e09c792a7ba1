"""Rules around a request: targets, queries, options, tokens, redirects, policy, routes, timers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http_gateway.errors import BadRequestError, ForbiddenError, HttpError, as_http_error
from services.http_gateway.lane.head import HeaderBlock
from services.http_gateway.lane.wheel import TimerWheel
from services.http_gateway.message import Request, TargetError, parse_query, split_target
from services.http_gateway.options import parse_options, parse_uint64, request_token
from services.http_gateway.policy import Policy
from services.http_gateway.redirect import clean_path, is_printable, redirect
from services.http_gateway.routes import all_routes
from shared.config.runtime import RuntimeConfig
from shared.config.sections import HttpConfig
from shared.ipc import RemoteError


class Nowhere:
    def finish(self, request: Request, data: bytes) -> None:
        raise AssertionError

    stream = finish


CONFIG = RuntimeConfig.dev("run")


def request(target: str, method: str = "GET", **fields: str) -> Request:
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    return Request(Nowhere(), method, target, names, remote="10.0.0.5:1234", plain=HeaderBlock(names).plain)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a%2Fb?x", ("/a/b", "x")),
        ("http://host/a?b", ("/a", "b")),
        ("http://host", ("/", "")),
        ("*", ("*", "")),
        ("/a?b?c", ("/a", "b?c")),
        ("/%ff", ("/\udcff", "")),
    ],
)
def test_targets(target: str, expected: tuple[str, str]) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize("target", ["a", "", "a/b", "/%", "/%2", "/%zz"])
def test_bad_targets(target: str) -> None:
    with pytest.raises(TargetError):
        split_target(target)


def test_queries_are_split_at_ampersands_and_semicolons() -> None:
    assert parse_query("a=1&b;a=2&c=d%20e+f&=x") == ({"a": ["1", "2"], "b": [""], "c": ["d e f"], "": ["x"]}, "")
    assert parse_query("a=%zz&b=1") == ({"b": ["1"]}, 'invalid URL escape "%zz"')


@given(st.text(max_size=40))
def test_any_query_is_parsed(raw: str) -> None:
    values, error = parse_query(raw)
    assert isinstance(values, dict)
    assert isinstance(error, str)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("wait=x", "Invalid wait time"),
        ("wait=5", "Invalid wait time"),
        ("index=x", "Invalid index"),
        ("index=-1", "Invalid index"),
        ("index=18446744073709551616", "Invalid index"),
        ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("cached&consistent", "Cannot specify ?cached with ?consistent, conflicting semantics."),
        ("max_stale=q", 'Invalid max_stale value "q"'),
    ],
)
def test_bad_options_are_named(query: str, text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_options(request(f"/v1/kv/a?{query}"), CONFIG)
    assert str(caught.value) == text


def test_options_are_read() -> None:
    options = parse_options(request("/v1/kv/a?stale&wait=1m&index=7&filter=x&dc=dc2&token=t"), CONFIG)
    assert (options.allow_stale, options.wait_ns, options.min_index) == (True, 60_000_000_000, 7)
    assert (options.filter, options.datacenter, options.token, options.level) == ("x", "dc2", "t", "stale")
    assert parse_options(request("/v1/kv/a"), CONFIG).level == "leader"
    assert parse_options(request("/v1/kv/a?consistent"), CONFIG).level == "consistent"
    assert parse_options(request("/v1/kv/a?max_stale=5s"), CONFIG).allow_stale


def test_catalog_reads_may_be_stale_by_configuration() -> None:
    config = CONFIG.replace(discovery_max_stale_s=5.0)
    assert parse_options(request("/v1/catalog/nodes"), config).allow_stale
    assert not parse_options(request("/v1/catalog/nodes?leader"), config).allow_stale
    assert not parse_options(request("/v1/kv/a"), config).allow_stale


def test_where_tokens_come_from() -> None:
    assert request_token(request("/?token=q", x_consul_token="h"), CONFIG) == "q"
    assert request_token(request("/", x_consul_token="h", authorization="Bearer b"), CONFIG) == "h"
    assert request_token(request("/", authorization="bearer  b c"), CONFIG) == "b"
    assert request_token(request("/", authorization="Basic b"), CONFIG) == ""


@given(st.integers(0, (1 << 64) - 1))
def test_uint64(value: int) -> None:
    assert parse_uint64(str(value)) == value
    assert parse_uint64("00" + str(value)) == value
    assert parse_uint64("0" * 5000 + str(value)) == value  # longer than what Python's int reads


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "0x1", " 1", "１", "18446744073709551616"])
def test_no_uint64(text: str) -> None:
    assert parse_uint64(text) is None


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("/a/b/", "/a/b/"),
        ("/a//b", "/a/b"),
        ("//", "/"),
        ("/a/./b", "/a/b"),
        ("/a/../b/", "/b/"),
        ("/../..", "/"),
        ("/a/..", "/"),
        ("/a/.b", "/a/.b"),
        ("/a/...", "/a/..."),
    ],
)
def test_paths_are_cleaned_as_by_a_go_mux(path: str, cleaned: str) -> None:
    assert clean_path(path) == cleaned


def test_a_redirect_keeps_the_query_and_escapes_the_path() -> None:
    response = redirect(request("/x?raw&a=b"), "/v1/kv/a b'é")
    assert response.headers["Location"] == "/v1/kv/a%20b%27%C3%A9?raw&a=b"
    assert response.body == b'<a href="/v1/kv/a%20b%27%C3%A9?raw&amp;a=b">Moved Permanently</a>.\n\n'
    assert redirect(request("/x", "PUT"), "/y").body == b""


def test_a_redirect_writes_a_query_beyond_ascii_in_hex_but_shows_it_as_it_came() -> None:
    response = redirect(request("/x?é=\udcff"), "/y")
    assert response.headers["Location"] == "/y?%c3%a9=%ff"
    assert b'"/y?\xc3\xa9=\xff"' in response.body


def test_printable_paths() -> None:
    assert is_printable("/v1/kv/é")
    assert is_printable("/v1/kv/\udcff")
    assert not is_printable("/v1/kv/\x01")
    assert not is_printable("/v1/kv/\u200b")


def policy(**changes: object) -> Policy:
    return Policy(CONFIG.replace(http_config=HttpConfig(**changes)))  # type: ignore[arg-type]


def test_blocked_endpoints_are_forbidden_by_prefix() -> None:
    rules = policy(block_endpoints=("/v1/agent",))
    rules.check_path(request("/v1/kv/v1/agent"))
    with pytest.raises(ForbiddenError, match="Endpoint is blocked by agent configuration"):
        rules.check_path(request("/v1/agent/self"))


def test_only_some_networks_may_write() -> None:
    policy(allow_write_http_from=("10.0.0.0/8",)).check_write(request("/", "PUT"))
    rules = policy(allow_write_http_from=("127.0.0.0/8",))
    rules.check_write(request("/", "GET"))
    with pytest.raises(ForbiddenError, match="Access is restricted"):
        rules.check_write(request("/", "DELETE"))


def test_extra_headers_get_their_canonical_names() -> None:
    assert policy(response_headers={"x-frame-OPTIONS": "deny"}).headers == {"X-Frame-Options": "deny"}


def test_tokens_do_not_appear_in_the_log() -> None:
    rules = policy()
    assert rules.shown_url(request("/v1/kv/a?token=secret&x=1")) == "/v1/kv/a?token=<hidden>&x=1"
    assert rules.shown_url(request("/v1/acl/info/secret?pretty")) == "/v1/acl/info/<hidden>"


def test_the_longest_pattern_wins() -> None:
    routes = all_routes()
    found = {path: getattr(routes.find(path), "pattern", None) for path in ("/v1/kv/a/b", "/v1/kv", "/v1/agent/self/x")}
    assert found == {"/v1/kv/a/b": "/v1/kv/", "/v1/kv": None, "/v1/agent/self/x": None}
    kv = routes.find("/v1/kv/x")
    assert kv is not None
    assert (kv.allow, kv.metric) == ("OPTIONS,GET,PUT,DELETE", "v1.kv._")


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (RemoteError("rpc", "No path to datacenter"), 500, "No path to datacenter"),
        (
            RemoteError("rpc", "rpc error making call: Permission denied"),
            403,
            "rpc error making call: Permission denied",
        ),
        (RemoteError("not_leader", "x", {"leader": None}), 500, "No cluster leader"),
        (RemoteError("rate_limited", "RPC rate limit exceeded"), 429, ""),
        (RemoteError("rpc", "Rate limit reached, try again later"), 429, "Rate limit reached, try again later"),
        (HttpError("own"), 500, "own"),
    ],
)
def test_errors_of_neighbours_become_consuls(error: Exception, status: int, text: str) -> None:
    made = as_http_error(error)
    assert (made.status, str(made)) == (status, text)


@dataclass(eq=False)
class Item:
    deadline: float


def test_a_timer_wheel_finds_what_is_due_even_if_deadlines_move() -> None:
    wheel: TimerWheel[Item] = TimerWheel(100.0)
    soon, moved, never = Item(105.0), Item(105.0), Item(math.inf)
    for item in (soon, moved, never):
        wheel.add(item, 100.0)
    assert wheel.due(104.0) == []
    moved.deadline = 300.0
    assert wheel.due(106.0) == [soon]
    assert wheel.due(299.0) == []
    assert wheel.due(301.0) == [moved]
    assert len(wheel) == 1
    never.deadline = 302.0
    wheel.sooner(never, 301.0)
    assert wheel.due(303.0) == [never]
    wheel.discard(never)
