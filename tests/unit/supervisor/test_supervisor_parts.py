"""The small parts of the supervisor: stages, backoff, meaning of signals, banner, log file, syslog, hub, console."""

from __future__ import annotations

import errno
import os
import signal
import socket
from pathlib import Path

import pytest

from services.supervisor import backoff, departure, plan
from services.supervisor.banner import banner
from services.supervisor.console import BACKLOG_BYTES_MAX, Console
from services.supervisor.hub import MONITOR_LINES_MAX, Hub, Monitor
from services.supervisor.logfile import LogFile
from services.supervisor.reload import with_reloadable
from services.supervisor.syslog import Syslog
from shared.config.runtime import RuntimeConfig
from shared.log import DEBUG, INFO, Record


def test_stages_follow_agent_start_and_stop_is_the_reverse() -> None:
    assert plan.stages(server=True) == (("raft_node", "gossip", "rpc_core"), ("dns_frontend",), ("http_gateway",))
    assert plan.stages(server=False)[0] == ("gossip", "rpc_core")
    assert plan.stop_order(server=True) == ("http_gateway", "dns_frontend", "rpc_core", "gossip", "raft_node")
    assert plan.first_to_report({"gossip": "8301", "rpc_core": "8300"}) == "rpc_core"


def test_the_first_restart_is_immediate_and_later_ones_wait_longer_up_to_a_cap() -> None:
    policy = backoff.Backoff()
    delays = [policy.delay_s(served_s=0) for _ in range(10)]
    assert delays[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == backoff.MAX_S
    assert policy.delay_s(served_s=backoff.STABLE_S) == 0.0
    assert policy.delay_s(served_s=1) == 0.1


@pytest.mark.parametrize(
    ("number", "leave_on_terminate", "skip_leave_on_interrupt", "leaves"),
    [
        (signal.SIGINT, False, False, True),
        (signal.SIGINT, True, True, False),
        (signal.SIGTERM, True, True, True),
        (signal.SIGTERM, False, False, False),
    ],
)
def test_what_a_signal_means(
    number: int, leave_on_terminate: bool, skip_leave_on_interrupt: bool, leaves: bool
) -> None:
    assert departure.leaves_first(number, leave_on_terminate, skip_leave_on_interrupt) is leaves


def test_the_banner_is_consuls() -> None:
    config = RuntimeConfig.dev("run", node_name="probe", bind_addr="127.9.0.1").replace(
        node_id="b722acc8-b3cf-f28f-d1ec-1622be37df2b"
    )
    assert banner(config) == (
        "==> Starting Consul agent...\n"
        "           Version: '1.8.7'\n"
        "           Node ID: 'b722acc8-b3cf-f28f-d1ec-1622be37df2b'\n"
        "         Node name: 'probe'\n"
        "        Datacenter: 'dc1' (Segment: '<all>')\n"
        "            Server: true (Bootstrap: false)\n"
        "       Client Addr: [127.9.0.1] (HTTP: 8500, HTTPS: -1, gRPC: 8502, DNS: 8600)\n"
        "      Cluster Addr: 127.9.0.1 (LAN: 8301, WAN: 8302)\n"
        "           Encrypt: Gossip: false, TLS-Outgoing: false, TLS-Incoming: false, Auto-Encrypt-TLS: false\n"
        "\n"
        "==> Log data will now stream in as it occurs:\n"
        "\n"
    )


def test_a_log_file_rotates_by_size_and_age_and_keeps_so_many(tmp_path: Path) -> None:
    log_file = LogFile(str(tmp_path / "agent.log"), rotate_bytes=10, rotate_s=100, max_files=2, now_s=1.0)
    log_file.write("0123456789", now_s=2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["agent-1000000000.log"]
    log_file.write("second", now_s=3.0)  # the first is full
    log_file.write("still second", now_s=102.0)
    log_file.write("third", now_s=203.0)  # by then the second is full as well as too old
    assert (tmp_path / "agent-203000000000.log").read_text() == "third\n"
    log_file.write("fourth", now_s=400.0)
    (tmp_path / "agent-other.log").write_text("not ours")
    log_file.write("fifth", now_s=600.0)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["agent-203000000000.log", "agent-400000000000.log", "agent-600000000000.log", "agent-other.log"]
    log_file.close()


def test_a_log_file_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogFile(str(tmp_path / "missing" / "agent.log"), 0, 0, 0, now_s=1.0)


def test_syslog_lines_have_priority_tag_and_pid(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    sink = Syslog("LOCAL0", paths=(path,))
    sink.write("nobody listens", now_s=0.0)
    assert sink.lost == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        sink.write("too early to try again", now_s=1.0)
        sink.write("hello", now_s=10.0)
        data = daemon.recv(1000)
    assert data.startswith(b"<133>")  # LOCAL0 (16) * 8 + NOTICE (5)
    assert data.endswith(f" consul[{os.getpid()}]: hello\n".encode())
    with pytest.raises(ValueError, match="invalid syslog facility: NOWHERE"):
        Syslog("NOWHERE")
    sink.close()


class FailingSink:
    def write(self, line: str, now_s: float) -> None:
        raise OSError(errno.ENOSPC, "no space left")


def test_the_hub_keeps_its_level_while_a_monitor_wants_more() -> None:
    shown: list[str] = []
    wanted: list[int] = []
    hub = Hub(INFO, False, shown.append)
    hub.on_wanted_level = wanted.append
    hub.add_sink(FailingSink())
    monitor = Monitor(DEBUG, as_json=False)
    hub.attach(monitor)
    hub.accept(Record(0.0, DEBUG, "agent", "detail"))
    hub.accept(Record(0.0, INFO, "agent", "news"))
    hub.detach(monitor)
    assert len(shown) == 1
    assert shown[0].startswith("    ")
    assert shown[0].endswith("agent: news\n")
    assert [monitor.lines.receive_nowait()[-6:] for _ in range(2)] == ["detail", ": news"]
    assert wanted == [DEBUG, INFO]


def test_a_monitor_that_does_not_fetch_misses_lines_and_is_told_how_many() -> None:
    hub = Hub(INFO, False, lambda _: None)
    monitor = Monitor(INFO, as_json=False)
    hub.attach(monitor)
    for _ in range(MONITOR_LINES_MAX + 7):
        hub.accept(Record(0.0, INFO, "agent", "x"))
    assert monitor.dropped == 7


def test_a_console_nobody_reads_never_blocks_and_reports_the_gap() -> None:
    reader, writer = os.pipe()
    console = Console(writer)
    line = "x" * 999 + "\n"
    count = BACKLOG_BYTES_MAX // 1000 + 500
    for _ in range(count):
        console.write(line)
    assert console.dropped > 0
    dropped = console.dropped
    os.set_blocking(reader, False)
    received = b""
    for _ in range(10_000):
        try:
            received += os.read(reader, 1 << 16)
        except BlockingIOError:
            break
        console._push()
    assert received.count(b"\n") == count - dropped
    console.write("later\n")
    assert os.read(reader, 1 << 16) == (
        f"    ({dropped} log lines dropped: the console did not take them)\nlater\n".encode()
    )
    os.close(reader)
    console.write("to nobody\n")
    console.write("still no error\n")
    os.close(writer)


def test_an_unknown_log_level_is_not_taken_over_and_the_rest_is() -> None:
    running = RuntimeConfig.dev("run")
    merged = with_reloadable(running, running.replace(log_level="LOUD", node_meta={"a": "b"}))
    assert (merged.log_level, merged.node_meta) == (running.log_level, {"a": "b"})


def test_only_reloadable_items_change_on_reload() -> None:
    running = RuntimeConfig.dev("run")
    fresh = running.replace(
        log_level="TRACE",
        node_name="other",
        node_meta={"a": "b"},
        recursors=("10.0.0.1",),
        discovery_max_stale_s=5.0,
        http_config=running.http_config.replace(block_endpoints=("/v1/kv",)),
        cert_file="new.pem",
        limits=running.limits.replace(rpc_rate=5.0, kv_max_value_size=1),
        telemetry=running.telemetry.replace(metrics_prefix="other", blocked_prefixes=("consul.raft",)),
    )
    merged = with_reloadable(running, fresh)
    assert (merged.log_level, merged.node_meta, merged.limits.rpc_rate) == ("TRACE", {"a": "b"}, 5.0)
    assert merged.telemetry.blocked_prefixes == ("consul.raft",)
    assert merged.recursors == ("10.0.0.1",)
    assert merged.http_config == running.http_config
    assert merged.discovery_max_stale_s == running.discovery_max_stale_s
    assert merged.node_name == running.node_name
    assert merged.cert_file == ""
    assert merged.limits.kv_max_value_size == running.limits.kv_max_value_size
    assert merged.telemetry.metrics_prefix == "consul"
