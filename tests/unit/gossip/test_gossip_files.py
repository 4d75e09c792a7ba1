"""Snapshot files, addresses to join, and what the configuration means for pools."""

import os
from pathlib import Path

import pytest

from services.gossip.pool_settings import pool_settings, pools_of
from services.gossip.resolve import ResolveError, resolve, split_port
from services.gossip.snapshot_file import SnapshotFile
from services.gossip.swim.address import Address
from shared.config import sections
from shared.config.runtime import RuntimeConfig
from shared.service import StartError


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> object:
        return lambda text: self.lines.append((level, text))


def opened(path: Path, run: str = "") -> tuple[SnapshotFile, Lines]:
    lines = Lines()
    return SnapshotFile(str(path), run, lines), lines  # type: ignore[arg-type]


def test_a_snapshot_survives_reopening_and_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "serf" / "local.snapshot"
    file, _ = opened(path)
    file.append("alive: a 1.2.3.4:5\nclock: 3\n", 0.0, sync=True)
    file.append("alive: b\udcff 1.2.3.4:6\ncloc", 0.0, sync=False)
    file.close()
    again, lines = opened(path)
    found, size = again.recover(rejoin_after_leave=False)
    assert found.alive == {"a": "1.2.3.4:5", "b\udcff": "1.2.3.4:6"}
    assert found.clock == 3
    assert size == path.stat().st_size
    assert lines.lines == [("warn", "serf: Unrecognized snapshot line: cloc")]
    again.append("clock: 4\n", 0.0, sync=False)
    again.close()
    last, _ = opened(path)
    assert last.recover(rejoin_after_leave=False)[0].clock == 4


def test_a_snapshot_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "local.snapshot"
    file, _ = opened(path)
    file.append("clock: 1\n" * 100, 0.0, sync=False)
    file.replace("clock: 1\n", 0.0)
    file.append("clock: 2\n", 0.0, sync=False)
    assert path.read_text() == "clock: 1\nclock: 2\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["local.snapshot"]


def test_what_a_full_disk_refuses_is_written_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "local.snapshot"
    file, lines = opened(path)
    real, file._fd = file._fd, os.open("/dev/full", os.O_WRONLY)
    file.append("clock: 1\n", 100.0, sync=False)
    file.append("clock: 2\n", 101.0, sync=True)
    assert [level for level, _ in lines.lines] == ["error"]
    for _ in range(40):
        file.append("event-clock: 7\n" * 5000, 101.0, sync=False)
    assert len(file._unwritten) <= 1 << 20
    file._fd = real
    file.append("clock: 3\n", 102.0, sync=False)
    found, _ = file.recover(rejoin_after_leave=False)
    assert (found.clock, found.event_clock, found.problems) == (3, 7, [])


def test_a_snapshot_of_another_run_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "serf-local.snapshot"
    file, _ = opened(path, "100")
    assert file.recover(rejoin_after_leave=False)[0].alive == {}
    file.append("alive: a 1.2.3.4:5\n", 0.0, sync=False)
    same, lines = opened(path, "100")
    assert same.recover(rejoin_after_leave=False)[0].alive == {"a": "1.2.3.4:5"}
    assert lines.lines == []
    other, _ = opened(path, "200")
    assert other.recover(rejoin_after_leave=False)[0].alive == {}
    assert path.read_text() == "# run 200\n"


def test_a_snapshot_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "serf").write_text("a file, not a directory")
    with pytest.raises(StartError, match=r"failed to open snapshot: open .*serf/local\.snapshot: file exists"):
        opened(tmp_path / "serf" / "local.snapshot")
    (tmp_path / "dir.snapshot").mkdir()
    with pytest.raises(StartError, match="is a directory"):
        opened(tmp_path / "dir.snapshot")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", ("host", 7)),
        ("host:1", ("host", 1)),
        ("1.2.3.4:65535", ("1.2.3.4", 65535)),
        ("::1", ("::1", 7)),
        ("[::1]", ("::1", 7)),
        ("[::1]:9", ("::1", 9)),
    ],
)
def test_hosts_and_ports(text: str, expected: tuple[str, int]) -> None:
    assert split_port(text, 7) == expected


@pytest.mark.parametrize("text", ["", ":1", "host:0", "host:65536", "host:x", "[::1", "[::1]x", "host:²"])
def test_bad_hosts_and_ports(text: str) -> None:
    with pytest.raises(ResolveError):
        split_port(text, 7)


async def test_addresses_with_and_without_a_node_name() -> None:
    [target] = await resolve("n1.dc1/127.0.0.1:8302", 8301)
    assert (target.name, target.address) == ("n1.dc1", Address(bytes((127, 0, 0, 1)), 8302))
    assert {found.address for found in await resolve("localhost", 8301)} & {
        Address(bytes((127, 0, 0, 1)), 8301),
        Address(bytes(15) + b"\1", 8301),
    }
    with pytest.raises(ResolveError):
        await resolve("/127.0.0.1", 8301)


@pytest.mark.parametrize("name", ["a/b", "a/\0", "a/\udcff", "/", "x/" + "y" * 100, "x/" + "a." * 400, "x/a..b"])
async def test_no_name_of_a_member_keeps_its_address_from_being_found(name: str) -> None:
    [target] = await resolve(f"{name}/127.0.0.1:8301", 1)
    assert (target.name, target.address) == (name, Address(bytes((127, 0, 0, 1)), 8301))


@pytest.mark.parametrize("host", ["a\0.b", "\udcff.b", "a..b", "y" * 100, "y" * 100 + ".b", "a." * 400, "."])
async def test_what_dns_cannot_be_asked_for_is_not_found(host: str) -> None:
    with pytest.raises(ResolveError, match=r"^lookup .*: no such host$"):
        await resolve(host, 8301)


def test_pools_and_their_timing_come_from_the_configuration() -> None:
    config = RuntimeConfig.dev("/run", node_name="n", ports=sections.Ports(serf_lan=1, serf_wan=2))
    assert pools_of(config) == ["wan", "lan"]
    assert pools_of(config.replace(server=False)) == ["lan"]
    assert pools_of(config.replace(serf_wan_bind_addr=None)) == ["lan"]
    lan = pool_settings(config.replace(gossip_lan=sections.LAN_GOSSIP), "lan", encrypted=False)
    wan = pool_settings(config.replace(gossip_wan=sections.WAN_GOSSIP), "wan", encrypted=True)
    assert (lan.serf.name, wan.serf.name) == ("n", "n.dc1")
    assert (lan.port, wan.port) == (1, 2)
    swim = lan.serf.swim
    assert (swim.probe_interval_s, swim.probe_timeout_s, swim.gossip_interval_s) == (1, 0.5, 0.2)
    assert swim.suspicion_mult == 4
    assert (swim.push_pull_interval_s, swim.gossip_to_the_dead_s, swim.tcp_timeout_s) == (30, 30, 10)
    swim = wan.serf.swim
    assert (swim.probe_interval_s, swim.probe_timeout_s, swim.gossip_interval_s) == (5, 3, 0.5)
    assert swim.suspicion_mult == 6
    assert (swim.push_pull_interval_s, swim.gossip_to_the_dead_s, swim.tcp_timeout_s) == (60, 60, 30)
    assert swim.encrypted
    assert (lan.snapshot_file, lan.keyring_file) == ("", "")
    server = config.replace(dev_mode=False, data_dir="/data", disable_keyring_file=False)
    assert pool_settings(server, "lan", encrypted=False).snapshot_file == "/data/serf/local.snapshot"
    assert pool_settings(server, "wan", encrypted=False).keyring_file == "/data/serf/remote.keyring"
