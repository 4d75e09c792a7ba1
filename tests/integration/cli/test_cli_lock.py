"""`lock` of both programs: the same words and exit codes, and one and the same lock when they contend.

Each test runs against the real agent and against ours; PROCONSUL_CLI_AGENTS chooses."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled, wait_until
from tests.integration.cli.both_programs import OURS, REAL, BothPrograms
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

PATIENCE_S = 60
LOCK_FLAG = 0x2DDCCBC058A50C18
SEMAPHORE_FLAG = 0xE0F69A2BAA414DE0


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    stdout: str
    stderr: str


class Programs(BothPrograms):
    def start(self, which: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return self.popen(which, *arguments, text=True, **environment)

    def run(self, which: str, *arguments: str, **environment: str) -> Outcome:
        return finish(self.start(which, *arguments, **environment), "standard input")

    def same(self, *arguments: str, **environment: str) -> Outcome:
        """Both, one after the other; asserts that they say the same, and gives it."""
        real, ours = (self.run(which, *arguments, **environment) for which in (REAL, OURS))
        assert ours == real, arguments
        return ours

    def key(self, name: str) -> dict[str, object] | None:
        answer = self.agent.http("GET", f"/v1/kv/{name}")
        return answer.json()[0] if answer.status == 200 else None

    def wait_held(self, name: str) -> str:
        """Waits until somebody holds the key; the session."""
        return str(wait_until(lambda: (self.key(name) or {}).get("Session"), PATIENCE_S, f"a holder of {name}"))


def finish(process: subprocess.Popen[str], stdin: str = "") -> Outcome:
    """Waits for the end. Process ids and our name are masked; of help texts nothing is kept."""
    out, err = process.communicate(stdin, timeout=PATIENCE_S)
    masked = [re.sub(r"\bpid \d+", "pid N", text.partition("Usage")[0]) for text in (out, err)]
    return Outcome(process.returncode, *masked)


@pytest.fixture(scope="module")
def programs(real_consul: Path, agent: RealConsul | Agent) -> Programs:
    return Programs(real_consul, agent)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a"],
        ["-n=0", "a", "b"],
        ["-n=-1", "a", "b"],
        ["-n=x", "a", "b"],
        ["-timeout=-1s", "a", "b"],
        ["-timeout=x", "a", "b"],
        ["-try=x", "a", "b"],
        ["-try=-1s", "a", "b"],
        ["-try=-1s", "-timeout=1s", "a", "true"],
        ["-monitor-retry=-1", "a", "b"],
        ["-monitor-retry=0", "a", "true"],
        ["-verbose", "p", "echo", "hi"],
        ["-verbose", "-n=2", "p", "echo", "hi"],
        ["-verbose", "/p", "echo hi; exit 3"],
        ["-child-exit-code", "p", "exit 3"],
        ["-child-exit-code", "p", "true"],
        ["-child-exit-code", "-n=3", "p", "exit 3"],
        ["-verbose", "-shell=false", "p", "echo", "a b"],
        ["-verbose", "-shell=false", "p", "nope"],
        ["-verbose", "-child-exit-code", "-shell=false", "p", "/nope"],
        ["-shell=false", "p", "/etc/passwd"],
        ["p", "kill -9 $$"],
        ["p", "kill $$"],
        ["-verbose", "//p", "echo", "x"],
        ["", "echo", "x"],
        ["-n=2", "", "echo", "x"],
        ["a/../b//c", "echo", "x"],
        ["p", "cat"],
        ["-verbose", "-pass-stdin", "p", "cat"],
        ["p", "env | grep CONSUL_LOCK"],
        ["-datacenter=nope", "p", "true"],
        ["-http-addr=127.255.255.254:1", "p", "true"],
        ["-http-addr=ftp://x", "p", "true"],
        ["-stale", "p", "true"],
        ["-name=", "p", "true"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_the_same_words_and_exit_codes(programs: Programs, arguments: list[str]) -> None:
    programs.same("lock", *arguments)


def test_another_shell_runs_the_command(programs: Programs) -> None:
    programs.same("lock", "-verbose", "p", "echo $0", SHELL="/bin/bash")
    programs.same("lock", "-verbose", "p", "echo $0", SHELL="/nope")


@pytest.mark.parametrize("limit", ["-n=1", "-n=2"])
def test_what_is_stored_while_the_lock_is_held(programs: Programs, limit: str) -> None:
    """Keys, flags, values and the session are the same; nothing is left afterwards."""
    url = f"http://{programs.agent.address}:{programs.agent.http_port}/v1"
    look = f"curl -s '{url}/kv/stored?recurse'; echo; curl -s '{url}/session/list'"
    outcomes = [programs.run(which, "lock", limit, "stored", look) for which in (REAL, OURS)]
    assert [outcome.status for outcome in outcomes] == [0, 0]
    (keys, session), ours = (_stored(outcome.stdout) for outcome in outcomes)
    assert ours == (keys, session)
    assert {key["Flags"] for key in keys} == {LOCK_FLAG if limit == "-n=1" else SEMAPHORE_FLAG}
    assert session["Behavior"] == ("release" if limit == "-n=1" else "delete")
    assert programs.agent.http("GET", "/v1/kv/stored?recurse").status == 404


def _stored(text: str) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Keys and the session that holds them, without what differs from time to time.

    The real one may end before it has asked for the end of its session: that one is listed, too, then."""
    keys, sessions = (json.loads(part) for part in re.split(r"\n(?=\[\n)", text.strip()))
    holder = next(key["Session"] for key in keys if key.get("Session"))
    session = next(each for each in sessions if each["ID"] == holder)
    for entry in (*keys, session):
        del entry["CreateIndex"], entry["ModifyIndex"]
        if entry.get("Value"):
            entry["Value"] = base64.b64decode(entry["Value"]).decode()
    masked = json.loads(json.dumps([keys, session]).replace(holder, "HOLDER"))
    return sorted(masked[0], key=lambda entry: entry["Key"]), masked[1]


def test_one_after_the_other_whoever_asks(programs: Programs, tmp_path: Path) -> None:
    """A counter that is read, waited with and written back loses no step when eight programs of both kinds contend."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    busy = tmp_path / "busy"
    script = f"mkdir {busy} || exit 9; read n < {counter}; sleep 0.05; echo $((n + 1)) > {counter}; rmdir {busy}"
    started = [programs.start(which, "lock", "-child-exit-code", "count", script) for which in (REAL, OURS) * 4]
    outcomes = [finish(process) for process in started]
    assert [(outcome.status, outcome.stderr) for outcome in outcomes] == [(0, "")] * 8
    assert counter.read_text() == "8\n"
    assert programs.agent.http("GET", "/v1/kv/count?recurse").status == 404


def test_a_semaphore_lets_in_as_many_as_agreed(programs: Programs, tmp_path: Path) -> None:
    """Each notes how many are in at the same time: never more than two, whoever they are."""
    script = f"touch {tmp_path}/$$; ls {tmp_path} | wc -l; sleep 0.2; rm {tmp_path}/$$"
    started = [programs.start(which, "lock", "-n=2", "rooms", script) for which in (REAL, OURS) * 3]
    outcomes = [finish(process) for process in started]
    assert [(outcome.status, outcome.stderr) for outcome in outcomes] == [(0, "")] * 6
    assert {int(outcome.stdout) for outcome in outcomes} <= {1, 2}
    assert programs.agent.http("GET", "/v1/kv/rooms?recurse").status == 404


@pytest.mark.parametrize("holder", [REAL, OURS])
def test_who_waits_in_vain_says_so(programs: Programs, holder: str) -> None:
    """While one holds the lock: time is up for others, and other uses of the prefix are refused."""
    held = programs.start(holder, "lock", "-pass-stdin", f"vain-{holder}", "read line")
    key = f"vain-{holder}/.lock"
    programs.wait_held(key)
    waited = programs.same("lock", "-timeout=200ms", "-verbose", f"vain-{holder}", "echo never")
    assert waited == Outcome(
        1,
        f"Setting up lock at path: {key}\nAttempting lock acquisition\n",
        "Shutdown triggered or timeout during lock acquisition\n",
    )
    programs.same("lock", "-try=200ms", f"vain-{holder}", "echo never")
    conflict = programs.same("lock", "-n=2", f"vain-{holder}", "echo never")
    assert conflict.stderr == "Lock acquisition failed: Existing key does not match semaphore use\n"
    assert finish(held, "go\n") == Outcome(0, "", "")


@pytest.mark.parametrize("holder", [REAL, OURS])
def test_contenders_for_a_semaphore_must_agree_on_its_size(programs: Programs, holder: str) -> None:
    held = programs.start(holder, "lock", "-n=2", "-pass-stdin", f"size-{holder}", "read line")
    wait_until(lambda: programs.key(f"size-{holder}/.lock"), PATIENCE_S, "the semaphore")
    larger = programs.same("lock", "-n=3", f"size-{holder}", "echo never")
    assert larger.stderr == "Lock acquisition failed: semaphore limit conflict (lock: 2, local: 3)\n"
    mutex = programs.same("lock", f"size-{holder}", "echo never")
    assert mutex.stderr == "Lock acquisition failed: Existing key does not match lock use\n"
    second = programs.same("lock", "-verbose", "-n=2", f"size-{holder}", "echo second")
    assert second.stdout.endswith("Cleanup aborted, lock in use\n")
    assert finish(held, "go\n") == Outcome(0, "", "")


def test_a_key_that_is_no_semaphore(programs: Programs) -> None:
    for value in ("5", '"x"', "{", "null", '{"Limit":"x"}', '{"Holders":[]}', '{"Limit":2,"Holders":{"x":true}}', ""):
        path = f"/v1/kv/broken/.lock?flags={SEMAPHORE_FLAG}"
        assert programs.agent.http("PUT", path, value).status == 200
        programs.same("lock", "-n=2", "broken", "echo in")
        programs.agent.http("DELETE", "/v1/kv/broken?recurse")


TRAPS = {
    "obeys": "echo started; exec sleep 60",
    "cleans up": "trap 'echo clean; exit 4' TERM; echo started; while :; do sleep 0.1; done",
    "refuses": "trap '' TERM INT; echo started; while :; do sleep 0.1; done",
}


@pytest.mark.parametrize("child", TRAPS)
def test_a_signal_ends_the_command_and_frees_the_lock(programs: Programs, child: str) -> None:
    started = {}
    for which in (REAL, OURS):
        prefix = f"signalled-{which}"
        started[prefix] = programs.start(which, "lock", "-verbose", "-child-exit-code", prefix, TRAPS[child])
        _wait_line(started[prefix], "started")
        started[prefix].send_signal(signal.SIGTERM)
    outcomes = []
    for prefix, process in started.items():
        each = finish(process)
        outcomes.append(Outcome(each.status, each.stdout.replace(prefix, "PREFIX"), each.stderr))
        assert programs.key(f"{prefix}/.lock") is None
    assert outcomes[1].status == outcomes[0].status
    if child == "refuses":  # the real one does not wait for the end of what it killed
        outcomes = [Outcome(each.status, each.stdout, "") for each in outcomes]
    # The real one may be gone before it has printed the end of its child.
    missing = Counter(outcomes[1].stdout.split("\n")) - Counter(outcomes[0].stdout.split("\n"))
    assert set(missing) <= {"Child terminated"}
    assert Counter(outcomes[0].stdout.split("\n")) <= Counter(outcomes[1].stdout.split("\n"))
    assert outcomes[1].stderr == outcomes[0].stderr


def _wait_line(process: subprocess.Popen[str], wanted: str) -> None:
    """Reads from its standard output up to a line; a program that never prints it is a failure."""
    assert process.stdout is not None
    deadline = time.monotonic() + PATIENCE_S
    for line in process.stdout:
        if line.strip() == wanted:
            return
        assert time.monotonic() < deadline
    raise AssertionError(f"{wanted!r} was never printed")


@pytest.mark.parametrize("limit", ["-n=1", "-n=2"])
def test_a_lost_lock_ends_the_command(programs: Programs, limit: str) -> None:
    outcomes = []
    for which in (REAL, OURS):
        prefix = f"lost-{which}{limit}"
        process = programs.start(which, "lock", "-verbose", limit, prefix, "echo started; exec sleep 60")
        _wait_line(process, "started")
        pairs = programs.agent.http("GET", f"/v1/kv/{prefix}?recurse").json()
        session = next(pair["Session"] for pair in pairs if pair.get("Session"))
        assert programs.agent.http("PUT", f"/v1/session/destroy/{session}").body.strip() == b"true"
        outcomes.append(finish(process))
    assert outcomes[1] == outcomes[0]
    assert "Lock lost, killing child\n" in outcomes[1].stdout


def test_a_wait_ends_at_once_on_a_signal_and_leaves_no_session(programs: Programs) -> None:
    """(The real one notices a signal only when its query of 15 s returns.)"""
    held = programs.start(REAL, "lock", "-pass-stdin", "waited", "read line")
    holder = programs.wait_held("waited/.lock")

    def sessions() -> set[str]:
        return {each["ID"] for each in programs.agent.http("GET", "/v1/session/list").json()}

    before = sessions()
    process = programs.start(OURS, "lock", "-verbose", "waited", "echo never")
    waiter = wait_until(lambda: sessions() - before, PATIENCE_S, "a second session")
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.status == 1
    assert outcome.stderr == "Shutdown triggered or timeout during lock acquisition\n"
    assert not waiter & sessions()
    assert holder in sessions()
    assert finish(held, "go\n").status == 0


def test_the_lock_delay_of_a_lost_holder_is_waited_for(programs: Programs) -> None:
    """No answer says how long it takes; the lock is tried again every 5 s."""
    session = programs.agent.http("PUT", "/v1/session/create", {"LockDelay": "2s"}).json()["ID"]
    path = f"/v1/kv/delayed/.lock?acquire={session}&flags={LOCK_FLAG}"
    assert programs.agent.http("PUT", path).body.strip() == b"true"
    started_s = time.monotonic()  # before the delay begins
    assert programs.agent.http("PUT", f"/v1/session/destroy/{session}").body.strip() == b"true"
    assert programs.run(OURS, "lock", "delayed", "echo mine") == Outcome(0, "mine\n", "")
    assert time.monotonic() - started_s > 2


@pytest.mark.parametrize("limit", ["-n=1", "-n=2"])
def test_a_lock_outlives_the_components_it_depends_on(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path, limit: str
) -> None:
    """Looking after the lock fails while one of our processes starts again; that is ridden out."""
    agent = Agent(loopback(), tmp_path)
    with agent.running():
        wait_settled(agent)
        programs = Programs(real_consul, agent)
        flags = ["-monitor-retry=30", "-child-exit-code", "-pass-stdin", limit]
        runs = {which: tmp_path / f"{which} runs" for which in (REAL, OURS)}
        held = {
            which: programs.start(which, "lock", *flags, f"outlives/{which}", f"echo > '{mark}'; read x")
            for which, mark in runs.items()
        }
        for which, mark in runs.items():  # the key is there before its holder knows
            wait_until(mark.exists, PATIENCE_S, f"the child of {which}")
        for component in ("http_gateway", "raft_node", "rpc_core"):
            agent.wait_restarted(component, agent.kill(component))
            wait_until(lambda: programs.key("outlives/none/.lock") is None, PATIENCE_S, "an agent that answers")
            wait_until(lambda: agent.http("PUT", "/v1/kv/written", b"1").status == 200, what="an agent that writes")
        for process in held.values():
            assert process.poll() is None
        assert {which: finish(process, "go\n") for which, process in held.items()} == {
            REAL: Outcome(0, "", ""),
            OURS: Outcome(0, "", ""),
        }
