"""`exec` of both programs on agents of both kinds: what is run, what is shown of it, what is left behind.

PROCONSUL_CLI_AGENTS chooses the agents."""

from __future__ import annotations

import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled, wait_until
from tests.integration.cli.both_programs import OURS, REAL, BothPrograms
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

PATIENCE_S = 60
QUICK = ["-wait=2s", "-wait-repl=10ms"]
"""Who hears nothing for longer takes it for done, so that a slow machine must not be silent for so long."""
CONFIG = {"disable_remote_exec": False}


class Programs(BothPrograms):
    def start(self, which: str, *arguments: str) -> subprocess.Popen[bytes]:
        return self.popen(which, "exec", *arguments, text=False)

    def run(self, which: str, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """(status, standard output, standard error); texts about help are cut, ids and durations masked."""
        process = self.start(which, *arguments)
        out, err = process.communicate(stdin, timeout=PATIENCE_S)
        masked = re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"UUID", out)
        masked = re.sub(rb"Completed in [\d.]+ seconds", b"Completed in N seconds", masked)
        return process.returncode, masked, err.partition(b"Usage")[0]

    def same(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Both programs say the same; the standard output. (When exit code and output are there at the same time,
        the real one shows them in random order.)"""
        with ThreadPoolExecutor(2) as pool:  # side by side, as they wait more than they do
            real, ours = pool.map(lambda which: self.run(which, *arguments, stdin=stdin), (REAL, OURS))
        assert [ours[0], sorted(ours[1].split(b"\n")), ours[2]] == [real[0], sorted(real[1].split(b"\n")), real[2]]
        return ours[1]


@pytest.fixture(scope="module")
def programs(real_consul: Path, agent: RealConsul | Agent) -> Programs:
    return Programs(real_consul, agent)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        ["-shell=false"],
        ["-shell=false", "-"],
        ["-"],
        ["-node=(", "true"],
        ["-service=[", "true"],
        ["-service=x", "-tag=*", "true"],
        ["-tag=x", "true"],
        ["-wait=x", "true"],
        ["-nope", "true"],
        ["-http-addr=127.255.255.254:1", "true"],
        ["-datacenter=nope", "true"],
        ["-datacenter=nope", "-verbose", "true"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_what_cannot_be_run(programs: Programs, arguments: list[str]) -> None:
    programs.same(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["echo", "hello"],
        ["-verbose", "echo hello; exit 3"],
        ["-shell=false", "echo", "a  b"],
        ["-shell=false", "nope"],
        ["-shell=false", "/nope"],
        ["kill -9 $$"],
        ["ls /nope"],
        ["printf 'no line end'"],
        ["printf 'a\\n\\n\\n'"],
        ["true"],
        ["-prefix=elsewhere/deep", "echo hello"],
        ["-node=^node", "echo hello"],
        ["-datacenter=dc1", "echo hello"],
        ["-node=^other$", "-verbose", "echo never"],
        ["-service=^none$", "echo never"],
        ["-token=unknown", "echo hello"],
    ],
    ids=" ".join,
)
def test_what_is_run_and_shown(programs: Programs, arguments: list[str]) -> None:
    programs.same(*QUICK, *arguments)
    for prefix in ("_rexec", "elsewhere"):
        assert programs.agent.http("GET", f"/v1/kv/{prefix}?keys").status == 404
    assert programs.agent.http("GET", "/v1/session/list").json() == []


def test_a_script_comes_from_standard_input(programs: Programs) -> None:
    shown = programs.same(*QUICK, "-", stdin=b"for i in 1 2 3; do echo line $i; done\nexit 4\n")
    assert b"    node1: line 1\n    node1: line 2\n    node1: line 3\n" in shown
    assert b"==> node1: finished with exit code 4\n" in shown


def test_long_output_comes_in_pieces_and_whole(programs: Programs) -> None:
    wanted = [b"%d" % n for n in range(1, 5001)]
    for which in (REAL, OURS):
        status, out, err = programs.run(which, *QUICK, "seq 5000")
        assert (status, err) == (0, b"")
        lines = [line.partition(b": ")[2] for line in out.split(b"\n") if line.startswith(b"    node1:")]
        # A piece of 4 KiB ends anywhere; each is shown as lines of its own.
        assert b"".join(lines) == b"".join(wanted)


def test_a_silent_program_gives_signs_of_life(programs: Programs) -> None:
    arguments = ["-wait=2s", "-verbose", "sleep 6; echo done"]  # a sign every 2 s, given up after 4 s
    for process in [programs.start(which, *arguments) for which in (REAL, OURS)]:
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert out.count(b"==> node1: heartbeat received\n") >= 2
        assert b"    node1: done\n" in out
        assert b"\n1 / 1 node(s) completed / acknowledged\n" in out


def test_output_is_shown_while_the_program_runs(programs: Programs, tmp_path: Path) -> None:
    """A piece that is not full goes out when the program has been silent for half a second."""
    seen = tmp_path / "seen"
    script = f"echo early; while [ ! -e {seen} ]; do sleep 0.1; done; echo late"
    started = [programs.start(which, "-wait=3s", script) for which in (REAL, OURS)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == b"    node1: early\n"
        assert process.poll() is None
    seen.touch()
    for process in started:
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert b"    node1: late\n" in out


def test_a_service_filter_looks_at_the_services_of_the_agent(programs: Programs) -> None:
    body = {"Name": "web", "Tags": ["blue"]}
    assert programs.agent.http("PUT", "/v1/agent/service/register", body).status == 200
    cases = ((["-service=^web$"], 1), (["-service=web", "-tag=blue"], 1), (["-service=web", "-tag=x"], 0))
    for arguments, count in cases:
        shown = programs.same(*QUICK, *arguments, "true")
        assert b"%d / %d node(s) completed / acknowledged\n" % (count, count) in shown


def test_a_signal_ends_it_and_nothing_is_left(programs: Programs) -> None:
    for which in (REAL, OURS):
        process = programs.start(which, "-wait=30s", "-verbose", "echo early; sleep 30")
        assert process.stdout is not None
        for line in process.stdout:
            if b"early" in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        wait_until(lambda: programs.agent.http("GET", "/v1/kv/_rexec?keys").status == 404, what="an empty store")


@pytest.mark.parametrize("which", [REAL, OURS])
def test_an_agent_takes_part_only_if_it_is_told_to(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path, which: str
) -> None:
    agent = Agent(loopback(), tmp_path)
    with agent.running():
        wait_settled(agent)
        status, out, _ = Programs(real_consul, agent).run(which, *QUICK, "echo never")
        assert (status, out) == (0, b"0 / 0 node(s) completed / acknowledged\n")
        agent.wait_output("ignoring remote exec event, disabled.")
