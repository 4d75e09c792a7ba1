"""The same command lines through the real Consul CLI and through ours, against one and the same agent.

Output and exit status must be equal to the byte; of texts with help in them what comes before the word
"Usage", since the prose is our own. Each scenario runs against the real agent and against ours;
PROCONSUL_CLI_AGENTS chooses.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.unit.cli.runner import Outcome, run_cli

pytestmark = pytest.mark.real_consul

TREE = "cli-test/"
CONFIG = {"disable_coordinates": True}
"""Nothing in the catalog moves by itself between two programs that look at it."""


class Pair:
    """Runs a command line with both programs and compares; `setup` runs it once, unseen."""

    def __init__(self, binary: Path, agent: RealConsul | Agent) -> None:
        self._binary = binary
        self.agent = agent
        self.environment = {"CONSUL_HTTP_ADDR": f"{agent.address}:{agent.http_port}"}

    def real(self, *arguments: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            [str(self._binary), *arguments],
            input=stdin,
            capture_output=True,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", **self.environment, **(environment or {})},
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def same(self, *arguments: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Outcome:
        """Asserts that both say the same; what they say."""
        real = self.real(*arguments, stdin=stdin, environment=environment)
        ours = run_cli(*arguments, stdin=stdin, environment={**self.environment, **(environment or {})})
        assert _comparable(ours) == _comparable(real), arguments
        return ours


def _comparable(outcome: Outcome) -> tuple[int, bytes, bytes]:
    def cut(text: bytes) -> bytes:
        before, found, _ = text.partition(b"Usage")
        return before + found

    return outcome.status, cut(outcome.stdout), cut(outcome.stderr)


def wait_synced(agent: RealConsul | Agent) -> None:
    """Until nothing of what the agent was told is left in the catalog, which then rests again."""

    def synced() -> bool:
        services = agent.http("GET", f"/v1/catalog/node/{agent.node_name}").json()["Services"]
        checks = agent.http("GET", f"/v1/health/node/{agent.node_name}").json()
        return set(services) == {"consul"} and [check["CheckID"] for check in checks] == ["serfHealth"]

    wait_until(synced, what="the catalog to follow the agent")


@pytest.fixture(scope="module")
def pair(real_consul: Path, agent: RealConsul | Agent) -> Pair:
    for body in (
        {"Node": "web1", "Address": "10.9.0.1", "NodeMeta": {"rack": "a"},
         "Service": {"Service": "web", "Tags": ["z", "a"], "Port": 80}},
        {"Node": "web2", "Address": "10.9.0.22", "ID": "11111111-2222-3333-4444-555555555555",
         "TaggedAddresses": {"wan": "1.2.3.4", "lan": "10.9.0.22"}, "NodeMeta": {"rack": "b", "x": ""},
         "Service": {"Service": "web-admin", "ID": "w2", "Tags": []}},
    ):  # fmt: skip
        assert agent.http("PUT", "/v1/catalog/register", body).status == 200
    return Pair(real_consul, agent)


@pytest.mark.parametrize(
    "arguments",
    [
        ["members"],
        ["members", "-detailed"],
        ["members", "-wan"],
        ["members", "-segment="],
        ["members", "-segment=nope"],
        ["members", "-status=alive|left"],
        ["members", "-status=^dead$"],
        ["members", "-status=(?i)ALIVE", "ignored"],
        ["join", "127.255.255.253"],
        ["join", "-wan", "127.255.255.253", "also bad"],
        ["force-leave", "nobody"],
        ["force-leave", "-prune", "nobody"],
        ["reload"],
        ["monitor", "-log-level=loud"],
        ["operator", "raft", "list-peers"],
        ["operator", "raft", "list-peers", "-stale"],
        ["operator", "raft", "list-peers", "-datacenter=nope"],
        ["operator", "raft", "remove-peer", "-id=nope"],
        ["operator", "raft", "remove-peer", "-address=1.2.3.4:8300"],
        ["catalog", "datacenters"],
        ["catalog", "nodes"],
        ["catalog", "nodes", "-detailed"],
        ["catalog", "nodes", "-service=web"],
        ["catalog", "nodes", "-service=web-admin", "-detailed"],
        ["catalog", "nodes", "-service=none"],
        ["catalog", "nodes", "-near=_agent"],
        ["catalog", "nodes", "-near=nowhere"],
        ["catalog", "nodes", "-node-meta=rack=b"],
        ["catalog", "nodes", "-node-meta", "rack=a", "-node-meta", "x=y"],
        ["catalog", "nodes", "-filter=Meta.rack == a"],
        ["catalog", "nodes", "-filter", "Nope == x"],
        ["catalog", "nodes", "-filter", "(("],
        ["catalog", "nodes", "-datacenter=nope"],
        ["catalog", "nodes", "-stale"],
        ["catalog", "services"],
        ["catalog", "services", "-tags"],
        ["catalog", "services", "-node=web1", "-tags"],
        ["catalog", "services", "-node=nowhere"],
        ["catalog", "services", "-node-meta=rack=a"],
        ["catalog", "services", "-node-meta=rack=c"],
        ["catalog", "services", "-namespace=team"],
        ["catalog", "services", "-datacenter=nope"],
    ],
    ids=" ".join,
)
def test_commands_that_look_at_the_cluster(pair: Pair, arguments: list[str]) -> None:
    pair.same(*arguments)


def test_a_filter_may_come_from_standard_input(pair: Pair) -> None:
    assert b"web1" in pair.same("catalog", "nodes", "-filter=-", stdin=b"Node == web1").stdout


def test_info_has_the_same_sections_and_names(pair: Pair) -> None:
    """Values differ from one moment to the next: goroutines, indexes, the time of last contact."""
    ours, real = run_cli("info", environment=pair.environment), pair.real("info")
    assert ours.status == real.status == 0
    assert [line.partition(b" = ")[0] for line in ours.stdout.split(b"\n")] == [
        line.partition(b" = ")[0] for line in real.stdout.split(b"\n")
    ]


VALUES = {
    "empty": b"",
    "text": b"hello",
    "line-end": b"hello\n",
    "binary": bytes(range(256)),
    "tabs": b"a\tb\nccc\td\te\n\n\tx\ty\nz\x0bzz\x0cyy\t\t1\n",
    "wide": "ä\töö\nüüü\t1".encode(),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_as_they_went_in(pair: Pair, name: str) -> None:
    key = f"{TREE}values/{name}"
    assert run_cli("kv", "put", key, "-", stdin=VALUES[name], environment=pair.environment).status == 0
    assert pair.same("kv", "get", key).stdout == VALUES[name] + b"\n"
    pair.same("kv", "get", "-base64", key)
    pair.same("kv", "get", "-detailed", key)
    pair.same("kv", "get", "-detailed", "-base64", f"/{key}")


@pytest.mark.parametrize(
    "name",
    ["a b", "é", "%41", "?x", "a#b", "a&b=c", "a+b", "!*'()[]", "a//b", ".", "..", "a\tb", "dir/", '"q"', "\\b", ";x",
     "a:b@c", "~_-", "\x7f", "a\nb", "<&>", "\u2028"],
)  # fmt: skip
def test_keys_with_every_kind_of_character(pair: Pair, name: str) -> None:
    key = f"{TREE}keys/{name}"
    pair.same("kv", "put", key, "v")
    pair.same("kv", "get", key)
    pair.same("kv", "get", "-detailed", key)
    pair.same("kv", "get", "-keys", key)
    pair.same("kv", "export", key)
    pair.same("kv", "delete", key)
    pair.same("kv", "get", key)


def test_listing_trees(pair: Pair) -> None:
    for name in ("a", "b/c", "b/d/e", "b", "f\tg"):
        pair.same("kv", "put", f"{TREE}tree/{name}", f"value of {name}")
    for flags in (["-keys"], ["-keys", "-separator="], ["-keys", "-separator=/d"], ["-recurse"],
                  ["-recurse", "-base64"], ["-recurse", "-detailed"], ["-recurse", "-keys"],
                  ["-keys", "-stale"], ["-recurse", "-datacenter=dc1"]):  # fmt: skip
        for prefix in ("tree/", "tree/b", "tree/none"):
            pair.same("kv", "get", *flags, TREE + prefix)
    pair.same("kv", "get", "-recurse")
    pair.same("kv", "get", "-keys", "/")


def test_conditional_writes(pair: Pair) -> None:
    key = f"{TREE}cas"
    pair.same("kv", "put", "-flags=42", key, "1")
    stored = json.loads(pair.agent.http("GET", f"/v1/kv/{key}").body)[0]
    index = str(stored["ModifyIndex"])
    assert stored["Flags"] == 42
    pair.same("kv", "put", "-cas", "-modify-index=1", key, "2")
    pair.same("kv", "delete", "-cas", "-modify-index=1", key)
    done = run_cli("kv", "put", "-cas", f"-modify-index={index}", key, "3", environment=pair.environment)
    assert done == Outcome(0, f"Success! Data written to: {key}\n".encode(), b"")
    index = str(json.loads(pair.agent.http("GET", f"/v1/kv/{key}").body)[0]["ModifyIndex"])
    done = run_cli("kv", "delete", "-cas", f"-modify-index={index}", key, environment=pair.environment)
    assert done == Outcome(0, f"Success! Deleted key: {key}\n".encode(), b"")


def test_locks(pair: Pair) -> None:
    session, other = (
        json.loads(pair.agent.http("PUT", "/v1/session/create", {"LockDelay": "0s"}).body)["ID"] for _ in range(2)
    )
    key = f"{TREE}lock"
    pair.same("kv", "put", "-acquire", f"-session={session}", key, "mine")
    pair.same("kv", "put", "-acquire", f"-session={other}", key, "theirs")
    pair.same("kv", "get", "-detailed", key)
    pair.same("kv", "put", "-release", f"-session={other}", key)
    done = run_cli("kv", "put", "-release", f"-session={session}", key, environment=pair.environment)
    assert done.stdout == f"Success! Lock released on: {key}\n".encode()
    pair.same("kv", "put", "-release", f"-session={session}", key)
    pair.same("kv", "put", "-acquire", "-session=nope", key)
    pair.same("kv", "put", "-release", "-session=nope", key)


def test_deleting(pair: Pair) -> None:
    for arguments in (["-recurse", "gone/"], ["gone"], ["-datacenter=nope", "gone"], ["-namespace=team", "gone"],
                      ["-datacenter=nope", "-recurse", "gone"], ["-datacenter=nope", "-cas", "-modify-index=3", "g"],
                      ["-recurse", f"{TREE}none"]):  # fmt: skip
        pair.same("kv", "delete", *arguments)


def test_what_one_exports_the_other_imports(pair: Pair) -> None:
    for name, value in VALUES.items():
        run_cli(
            "kv", "put", f"-flags={len(value)}", f"{TREE}exp/{name}", "-", stdin=value, environment=pair.environment
        )
    exported = pair.same("kv", "export", f"{TREE}exp/").stdout
    pair.same("kv", "export", f"/{TREE}exp/text")
    pair.same("kv", "export", f"{TREE}none")
    assert run_cli("kv", "delete", "-recurse", f"{TREE}exp/", environment=pair.environment).status == 0
    pair.same("kv", "import", "-", stdin=exported)
    assert pair.same("kv", "export", f"{TREE}exp/").stdout == exported


@pytest.mark.parametrize(
    "arguments",
    [
        ["kv", "put", "", "x"],
        ["kv", "put", "/leading", "x"],
        ["kv", "put", "-namespace=team", "a", "x"],
        ["kv", "put", "-datacenter=nope", "a", "x"],
        ["kv", "put", "-token=unknown", f"{TREE}token", "x"],
        ["kv", "get", ""],
        ["kv", "get", "-datacenter=nope", "a"],
        ["kv", "get", "-namespace=team", "a"],
        ["kv", "get", f"{TREE}none"],
        ["kv", "get", "--", "-h"],
        ["kv", "import", '[{"key":"","value":"eQ=="}]'],
        ["kv", "import", '[{"key":"n","namespace":"team","value":"eQ=="}]'],
    ],
    ids=" ".join,
)
def test_requests_that_the_agent_refuses(pair: Pair, arguments: list[str]) -> None:
    pair.same(*arguments)


def test_a_value_over_the_limit_is_refused(pair: Pair) -> None:
    pair.same("kv", "put", f"{TREE}big", "-", stdin=bytes(513 * 1024))


def test_addresses_in_all_their_forms(pair: Pair) -> None:
    address = pair.environment["CONSUL_HTTP_ADDR"]
    for text in (address, f"http://{address}", f"https://{address}", f"ftp://{address}"):
        pair.same("members", environment={"CONSUL_HTTP_ADDR": text})
        pair.same("members", f"-http-addr={text}", environment={"CONSUL_HTTP_ADDR": "127.255.255.254:1"})
    pair.same("members", environment={"CONSUL_HTTP_SSL": "true"})
    pair.same("members", environment={"CONSUL_HTTP_AUTH": "user:password"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["keyring"],
        ["keyring", "-list"],
        ["keyring", "-list-primary", "-relay-factor=5"],
        ["keyring", "-list", "-local-only"],
        ["keyring", "-list", "-list-primary"],
        ["keyring", "-list", "-use=x"],
        ["keyring", "-list", "-relay-factor=6"],
        ["keyring", "-list-primary", "-local-only"],
        ["keyring", "-install=short"],
        ["keyring", "-install=EBESExQVFhcYGRobHB0eHw==", "-relay-factor=2"],
        ["keyring", "-use=EBESExQVFhcYGRobHB0eHw==", "-local-only"],
        ["keyring", "-use=EBESExQVFhcYGRobHB0eHw=="],
        ["keyring", "-remove=c2hvcnQ="],
        ["keyring", "-relay-factor=x", "-list"],
    ],
    ids=" ".join,
)
def test_keys_of_an_agent_that_does_not_encrypt(pair: Pair, arguments: list[str]) -> None:
    pair.same(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["maint"],
        ["maint", "-disable"],
        ["maint", "-enable", "-service=none"],
        ["operator", "autopilot", "get-config"],
        ["operator", "autopilot", "set-config", "-last-contact-threshold=1500ms", "-min-quorum=3"],
        ["operator", "autopilot", "get-config", "-stale"],
        ["services", "register", "-name=svc", "-port=3", "-tag=a", "-meta=k=v", "-tagged-address=lan=1.2.3.4:5"],
        ["services", "register", "-name=svc", "-id=svc-2", "-address=0.0.0.0"],
        ["services", "deregister", "-id=svc"],
        ["services", "deregister", "-id=none"],
    ],
    ids=" ".join,
)
def test_services_of_the_agent_and_autopilot(pair: Pair, arguments: list[str]) -> None:
    pair.same(*arguments)


def test_definitions_of_a_file_are_registered_and_deregistered(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "web.hcl"
    path.write_text('service { name = "web" port = 80 checks = [{ ttl = "10m" }, { ttl = "5m" }] }')
    pair.same("services", "register", str(path))
    services = pair.agent.http("GET", "/v1/agent/services").json()
    assert (services["web"]["Port"], list(services)) == (80, ["web"])
    assert set(pair.agent.http("GET", "/v1/agent/checks").json()) == {"service:web:1", "service:web:2"}
    pair.same("services", "deregister", str(path))
    assert pair.agent.http("GET", "/v1/agent/services").json() == {}
    wait_synced(pair.agent)


def test_maintenance_is_listed_while_it_lasts(pair: Pair) -> None:
    pair.same("maint", "-enable", "-reason=new disk")
    assert b"Reason: new disk" in pair.same("maint").stdout
    pair.same("maint", "-disable")
    assert pair.same("maint").stdout == b""
    wait_synced(pair.agent)


def test_an_event_is_fired(pair: Pair) -> None:
    outcome = run_cli("event", "-name=deploy", "-node=^node", "payload", environment=pair.environment)
    assert outcome.stdout.startswith(b"Event ID: ")
    fired = wait_until(lambda: pair.agent.http("GET", "/v1/event/list?name=deploy").json()[-1], what="the event")
    assert (fired["ID"].encode(), fired["NodeFilter"]) == (outcome.stdout.split()[-1], "^node")


def test_a_snapshot_goes_into_a_file_and_back(pair: Pair, tmp_path: Path) -> None:
    path = str(tmp_path / "state.snap")
    saved = run_cli("snapshot", "save", path, environment=pair.environment)
    assert saved.stdout.startswith(b"Saved and verified snapshot to index ")
    assert list(tmp_path.iterdir()) == [Path(path)]
    pair.same("snapshot", "inspect", path)
    pair.same("snapshot", "restore", path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["snapshot", "restore", "/etc/passwd"],
        ["snapshot", "save", "-datacenter=nope", "/nonexistent/x"],
        ["event", "-name=x", "-node=("],
        ["event", "-name=x", "-tag=a"],
        ["event", "-name=x", "-datacenter=nope"],
        ["rtt", "node1", "nobody"],
        ["rtt", "-wan", "node1.dc1"],
        ["rtt", "-wan", "node1.dc1", "x.dc2"],
        ["rtt", "-wan", "node1"],
        ["watch"],
        ["watch", "-type=nope"],
        ["watch", "-type=key"],
        ["watch", "-type=key", "-key=none"],
        ["watch", "-type=keyprefix"],
        ["watch", "-type=nodes", "-stale"],
        ["watch", "-type=nodes", "-key=x"],
        ["watch", "-type=service"],
        ["watch", "-type=service", "-service=web", "-tag=z", "-tag=a"],
        ["watch", "-type=service", "-service=web", "-passingonly=true"],
        ["watch", "-type=service", "-service=web", "-passingonly=maybe"],
        ["watch", "-type=checks"],
        ["watch", "-type=checks", "-state=passing"],
        ["watch", "-type=checks", "-state=passing", "-service=web"],
        ["watch", "-type=event", "-name=none"],
        ["watch", "-type=connect_roots"],
        ["watch", "-type=agent_service"],
        ["watch", "-type=key", "-key=none", "-shell=false", "no-such-program"],
        ["watch", "-type=key", "-key=none", "-shell=false", "/no/such/program"],
        ["watch", "-type=key", "-key=none", "exit 3"],
        ["watch", "-type=key", "-key=none", "kill -9 $$"],
        ["debug", "-duration=1s"],
        ["debug", "-interval=1s"],
        ["debug", "-duration=20s", "-interval=30s"],
        ["debug", "-capture=nope"],
        ["debug", "extra"],
        ["debug", "-output=/tmp"],
        ["debug", "-nope"],
    ],
    ids=" ".join,
)
def test_snapshots_events_distances_watches_and_debug(pair: Pair, arguments: list[str]) -> None:
    pair.same(*arguments)


def test_a_recording_holds_what_was_wanted(pair: Pair, tmp_path: Path) -> None:
    """The same files from both programs; ours shows the same lines but for the name of the file."""
    shown, files = [], []
    for name, run in (("real", pair.real), ("ours", partial(run_cli, environment=pair.environment))):
        outcome = run("debug", f"-output={tmp_path}/{name}", "-capture=agent", "-capture=cluster", "-capture=host")
        assert outcome.status == 0
        shown.append(outcome.stdout.replace(str(tmp_path / name).encode(), b"PATH"))
        with tarfile.open(tmp_path / f"{name}.tar.gz") as tar:
            files.append(sorted(info.name.removeprefix(name) for info in tar if info.isfile()))
            index = tar.extractfile(f"{name}/index.json")
            assert index is not None
            shown.append(index.read())
    assert shown[:2] == shown[2:]
    assert files[0] == files[1] == ["/agent.json", "/cluster.json", "/host.json", "/index.json"]
    assert not (tmp_path / "ours").exists()
