"""Config entries from files, as `config write` sends them and `config read` shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.config.entries import EntryError, as_client, parse

ROUTER = """
kind = "service-router"
name = "web"
routes = [{ match { http { path_prefix = "/a" } } destination { request_timeout = "90s" num_retries = 2 } }]
"""


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (
            '{"kind": "service-defaults", "name": "web", "meta": {"n": 7}}',
            {"Kind": "service-defaults", "Name": "web", "MeshGateway": {}, "Expose": {}, "Meta": {"n": "7"}},
        ),
        (
            'Kind = "service-defaults" Name = "web" Protocol = "HTTP" Namespace = "team"',
            {"Kind": "service-defaults", "Name": "web", "Namespace": "team", "Protocol": "HTTP", "MeshGateway": {},
             "Expose": {}},
        ),
        (
            ROUTER,
            {"Kind": "service-router", "Name": "web", "Routes": [
                {"Match": {"HTTP": {"PathPrefix": "/a"}},
                 "Destination": {"RequestTimeout": "1m30s", "NumRetries": 2}}]},
        ),
        ('kind = "service-splitter" name = "web"', {"Kind": "service-splitter", "Name": "web"}),
        (
            'kind = "ingress-gateway" name = "in" listeners { port = 1 services { name = "a" } }',
            {"Kind": "ingress-gateway", "Name": "in", "TLS": {"Enabled": False},
             "Listeners": [{"Port": 1, "Protocol": "", "Services": [{"Name": "a", "Hosts": None}]}]},
        ),
        (
            'kind = "terminating-gateway" name = "out" namespace = "team"',
            {"Kind": "terminating-gateway", "Name": "out", "Namespace": "team"},
        ),
        (
            'kind = "proxy-defaults" name = "global" config { n = 7 f = 0.5 list = ["a"] }',
            {"Kind": "proxy-defaults", "Name": "global", "Config": {"f": 0.5, "list": "a", "n": 7}, "MeshGateway": {},
             "Expose": {}},
        ),
    ],
)  # fmt: skip
def test_what_a_file_says(text: str, entry: dict[str, Any]) -> None:
    assert parse(text) == entry | {"CreateIndex": 0, "ModifyIndex": 0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Payload does not contain a kind/Kind key at the top level"),
        ("kind = 7", "Kind value in payload is not a string"),
        ('kind = "nope"', "invalid config entry kind: nope"),
        ('kind = "service-defaults" nope = 1', '1 error occurred:\n\t* invalid config key "nope"\n\n'),
        (
            '{"kind": "service-defaults", "name": {"a": 1}}',
            "1 error(s) decoding:\n\n* 'Name' expected type 'string', got unconvertible type 'map[string]interface {}'",
        ),
        ('{"kind": ', "Failed to decode config entry input: unexpected end of JSON input"),
    ],
)
def test_files_without_an_entry(text: str, reason: str) -> None:
    with pytest.raises(EntryError) as caught:
        parse(text)
    assert str(caught.value) == reason


def test_empty_fields_are_not_shown() -> None:
    shown = as_client("service-defaults", json.loads('{"Kind": "service-defaults", "Name": "x", "Protocol": ""}'))
    assert shown == {"Kind": "service-defaults", "Name": "x"}
