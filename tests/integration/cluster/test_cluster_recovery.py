"""peers.json: a cluster without a quorum goes on as its operator says."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.clusters import founders
from tests.loopback import LoopbackPool


def value(agent: Agent, key: str) -> bytes | None:
    answer = agent.http("GET", f"/v1/kv/{key}")
    return base64.b64decode(answer.json()[0]["Value"]) if answer.status == 200 else None


def test_the_last_server_goes_on_alone(loopback: LoopbackPool, tmp_path: Path) -> None:
    cluster = founders(loopback, tmp_path, [Agent, Agent, Agent])
    with cluster.running():
        cluster.write_somewhere("/v1/kv/precious", b"1")
        last = cluster.followers()[0]
        assert isinstance(last, Agent)
        info = last.data_dir / "raft" / "peers.info"
        assert "peers.json" in info.read_text()
        wait_until(lambda: value(last, "precious?stale") == b"1", what="the write at the survivor")
        for one in cluster:
            assert isinstance(one, Agent)
            one.kill_everything()
        cluster.servers = [last]
        peers = last.data_dir / "raft" / "peers.json"
        node_id = (last.data_dir / "node-id").read_text().strip()
        peers.write_text(json.dumps([{"id": node_id, "address": f"{last.address}:8300"}]))
        last.start()
        last.wait_ready()
        assert value(last, "precious") == b"1"
        assert last.http("PUT", "/v1/kv/more", b"2").body == b"true"
        assert last.http("GET", "/v1/status/peers").json() == [f"{last.address}:8300"]
        assert not peers.exists()
        last.wait_output("found peers.json file, recovering Raft configuration...")
        last.wait_output("deleted peers.json file after successful recovery")
        last.kill_everything()  # and again without the file: the snapshot has the configuration
        last.start()
        last.wait_ready()
        assert value(last, "more") == b"2"


Make = Callable[[str], Agent | RealConsul]


@pytest.fixture
def make(loopback: LoopbackPool, tmp_path: Path, real_consul: Path) -> Make:
    def made(kind: str) -> Agent | RealConsul:
        if kind == "real":
            return RealConsul(loopback(), tmp_path / kind, real_consul, dev=False)
        return Agent(loopback(), tmp_path / kind, dev=False)

    return made


@pytest.mark.slow
@pytest.mark.real_consul
@pytest.mark.parametrize(
    ("content", "flags"),
    [
        ("", []),
        ("nonsense", []),
        ("{}", []),
        ("[]", []),
        ('["127.0.0.1:8300"]', []),
        ('[{"id": "", "address": "127.0.0.1:8300"}]', []),
        ('[{"id": "a", "address": ""}]', []),
        ('[{"id": 7}]', []),
        ('[{"id": "a", "address": "b"}, {"id": "a", "address": "c"}]', []),
        ('[{"id": "a", "address": "b"}, {"id": "c", "address": "b"}]', []),
        ('[{"id": "a", "address": "b", "non_voter": true}]', []),
        ('[{"ID": "a", "Address": "b", "Other": 1}]', []),
        ('[{"id": "a"}]', ["-raft-protocol", "2"]),
        ('["a"]', ["-raft-protocol", "2"]),
    ],
)
def test_what_cannot_be_used_is_refused_in_the_same_words(make: Make, content: str, flags: list[str]) -> None:
    """Also a file that could be used, where there is no state to go on with."""
    said = []
    for kind in ("real", "ours"):
        agent = make(kind)
        raft = agent.data_dir / "raft"
        raft.mkdir(parents=True)
        (raft / "peers.info").write_text("here")
        (raft / "peers.json").write_text(content)
        command = [*agent.command(), *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=agent.environment(), check=False)
        assert done.returncode == 1
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "recovery failed" in line]
        said.append(lines[-1].partition("recovery failed")[2])
    assert said[0] == said[1]


def test_a_relic_is_removed_at_the_first_start(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = Agent(loopback(), tmp_path, dev=False)
    raft = agent.data_dir / "raft"
    raft.mkdir(parents=True)
    (raft / "peers.json").write_text("whatever it says")
    with agent.running():
        assert not (raft / "peers.json").exists()
        assert (raft / "peers.info").exists()
        agent.wait_output("deleted peers.json file (see peers.info for details)")
