"""`config write|read|list|delete` through both programs, against the real agent and against ours.

What one program writes the other one reads: each file is written by both, and looked at by both after each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.test_cli_differential import Pair, pair

__all__ = ["pair"]
pytestmark = pytest.mark.real_consul

ENTRIES = {
    "service-defaults/web": 'Kind = "service-defaults"\nName = "web"\nProtocol = "HTTP"\nMeta { owner = "a" n = 7 }\n',
    "service-defaults/bare": '{"kind": "service-defaults", "name": "bare"}',
    "proxy-defaults/global": """
        kind = "proxy-defaults"
        name = "global"
        config { protocol = "http" port = 8080 ratio = 0.25 list = ["a"] deep { on = true } }
        mesh_gateway { mode = "local" }
        expose { checks = true paths = [{ path = "/m" listener_port = 21500 local_path_port = "8080" }] }
    """,
    "service-resolver/web": """
        kind = "service-resolver"
        name = "web"
        default_subset = "v1"
        connect_timeout = "15s"
        subsets = { "v1" = { filter = "Service.Meta.version == v1" } "v2" = { only_passing = true } }
        failover = { "*" = { datacenters = ["dc2", "dc3"] } }
    """,
    "service-splitter/web": """
        kind = "service-splitter"
        name = "web"
        splits = [{ weight = 33.33 service_subset = "v1" }, { weight = 66.67 service_subset = "v2" }]
    """,
    "service-router/web": """
        kind = "service-router"
        name = "web"
        routes = [
          { match { http { path_prefix = "/admin" header = [{ name = "x" present = true }] methods = ["get"] } }
            destination { service_subset = "v2" prefix_rewrite = "/" request_timeout = "3s" num_retries = 2
                          retry_on_status_codes = [500] } },
        ]
    """,
    "ingress-gateway/in": """
        Kind = "ingress-gateway"
        Name = "in"
        TLS { Enabled = true }
        Listeners = [{ Port = 8080 Protocol = "http" Services = [{ Name = "web" Hosts = ["web.example"] }] }]
    """,
    "terminating-gateway/out": """
        Kind = "terminating-gateway"
        Name = "out"
        Services = [{ Name = "legacy" CAFile = "/a" SNI = "legacy.example" }, { Name = "*" }]
    """,
}
BAD = {
    "empty": "",
    "no kind": 'name = "x"',
    "kind is no text": '{"Kind": 7}',
    "unknown kind": 'kind = "service-intentions"',
    "unknown key": 'kind = "service-defaults"\nname = "x"\nnope = 1',
    "unknown nested key": 'kind = "service-defaults"\nname = "x"\nexpose { nope = 1 }',
    "wrong type": '{"Kind": "service-defaults", "Name": {"a": 1}}',
    "wrong number": 'kind = "service-splitter"\nname = "x"\nsplits = [{ weight = "x" }]',
    "bad duration": 'kind = "service-resolver"\nname = "x"\nconnect_timeout = "soon"',
    "bad HCL": "kind = ",
    "bad JSON": '{"Kind": ',
    "namespace": 'kind = "service-defaults"\nname = "x"\nnamespace = "team"',
    "refused": 'kind = "service-splitter"\nname = "x"',
    "a list": '["x"]',
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "entry"


def test_entries_written_by_either_program_are_shown_by_both(pair: Pair, file: Path) -> None:
    for identity, text in ENTRIES.items():
        kind, _, name = identity.partition("/")
        file.write_text(text)
        shown = []
        for write in (pair.real, pair.same):
            assert write("config", "write", str(file)).stdout == f"Config entry written: {identity}\n".encode()
            read = json.loads(pair.same("config", "read", "-kind", kind, "-name", name).stdout)
            shown.append({key: value for key, value in read.items() if key != "ModifyIndex"})
        assert shown[0] == shown[1]
        pair.same("config", "list", "-kind", kind)
    for identity in reversed(ENTRIES):
        kind, _, name = identity.partition("/")
        pair.same("config", "delete", "-kind", kind, "-name", name)
        pair.same("config", "read", "-kind", kind, "-name", name)
        pair.same("config", "list", "-kind", kind)


@pytest.mark.parametrize("what", BAD)
def test_files_that_hold_no_entry(pair: Pair, file: Path, what: str) -> None:
    file.write_text(BAD[what])
    assert pair.same("config", "write", str(file)).status == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["config"],
        ["config", "nope"],
        ["config", "read"],
        ["config", "read", "-kind=service-defaults"],
        ["config", "read", "-kind=nope", "-name=x"],
        ["config", "read", "-kind=service-defaults", "-name=none"],
        ["config", "read", "-kind=service-defaults", "-name=none", "-datacenter=nope"],
        ["config", "read", "-nope"],
        ["config", "list"],
        ["config", "list", "-kind=nope"],
        ["config", "list", "-kind=service-router"],
        ["config", "list", "-kind=service-router", "-namespace=team"],
        ["config", "delete"],
        ["config", "delete", "-kind=x"],
        ["config", "delete", "-kind=nope", "-name=x"],
        ["config", "delete", "-kind=service-defaults", "-name=none"],
        ["config", "write"],
        ["config", "write", "a", "b"],
        ["config", "write", ""],
        ["config", "write", "/nowhere/at/all"],
        ["config", "write", "-modify-index=x", "a"],
    ],
    ids=" ".join,
)
def test_command_lines(pair: Pair, arguments: list[str]) -> None:
    pair.same(*arguments)


def test_comparison_of_the_index(pair: Pair) -> None:
    text = b'kind = "service-defaults" name = "cas"'
    assert pair.same("config", "write", "-cas", "-modify-index=7", "-", stdin=text).status == 1
    assert pair.real("config", "write", "-cas", "-", stdin=text).status == 0
    assert pair.same("config", "write", "-cas", "-", stdin=text).stderr == (
        b"Config entry not updated: service-defaults/cas\n"
    )
    pair.same("config", "delete", "-kind=service-defaults", "-name=cas")
