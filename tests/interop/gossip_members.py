"""Members of gossip pools behind one interface, whichever program they run: our gossip process, real Consul or serf.

    async with OurMember(loopback(), tmp_path, "ours").running() as ours: ...

What is waited for has a deadline. `Timing` is one setting for all kinds, so that bounds can be computed from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from services.gossip.swim.formulas import suspicion_timeout_s
from shared.config import sections
from shared.ipc import IpcError
from tests.agents import PATIENCE_S, RealConsul
from tests.integration.gossip.gossip_process import Caller, GossipProcess
from tests.promises import within_s

ALIVE, LEAVING, LEFT, FAILED = 1, 2, 3, 4
GONE = 0
"""In an expectation: the member is not in the list at all."""
SERF_STATUS = {"alive": ALIVE, "leaving": LEAVING, "left": LEFT, "failed": FAILED}
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SUSPICION_MAX_MULT = 6


NO_ANSWER = (OSError, http.client.HTTPException, IpcError, ValueError, TypeError, subprocess.SubprocessError)
"""What asking a member raises that is just starting, or ending, or has no leader yet."""


async def in_thread(act: Callable[..., Any], *arguments: Any) -> Any:
    return await trio.to_thread.run_sync(partial(act, *arguments))


@dataclass(frozen=True)
class Timing:
    """How fast a pool works, seconds. Defaults are Consul's in a LAN."""

    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    gossip_interval_s: float = 0.2
    suspicion_mult: int = 4

    def ours(self) -> sections.Gossip:
        return sections.Gossip(
            gossip_interval_s=self.gossip_interval_s,
            probe_interval_s=self.probe_interval_s,
            probe_timeout_s=self.probe_timeout_s,
            suspicion_mult=self.suspicion_mult,
        )

    def consul(self) -> dict[str, Any]:
        return {
            "gossip_interval": f"{self.gossip_interval_s * 1000:.0f}ms",
            "probe_interval": f"{self.probe_interval_s * 1000:.0f}ms",
            "probe_timeout": f"{self.probe_timeout_s * 1000:.0f}ms",
            "suspicion_mult": self.suspicion_mult,
        }

    def suspicion_min_s(self, nodes: int) -> float:
        return suspicion_timeout_s(self.suspicion_mult, nodes, self.probe_interval_s)

    def suspicion_max_s(self, nodes: int) -> float:
        """Without confirmations, where some are expected; in a pool too small for them it is the minimum."""
        wanted = self.suspicion_mult - 2
        return self.suspicion_min_s(nodes) * (SUSPICION_MAX_MULT if wanted and nodes - 2 >= wanted else 1)

    def detection_s_min(self, nodes: int) -> float:
        """Before that nobody may be taken for dead. Kept to the letter with --long only: where a process gets no
        processor for a while, a suspicion may be running already when it is killed."""
        return self.suspicion_min_s(nodes) if within_s(0.0) == 0.0 else 0.0

    def detection_s_max(self, nodes: int) -> float:
        """Until everybody knows that a member died, if nobody is slow.

        It is probed within two rounds less one probe (last in one order, first in the next is the other extreme), the
        probe takes one interval, the suspicion its longest, and gossip as long as a query may take."""
        rounds = 2 * (nodes - 1) - 1
        spread = 16 * self.gossip_interval_s
        return (rounds + 1) * self.probe_interval_s + self.suspicion_max_s(nodes) + spread

    def detection_within_s(self, nodes: int) -> float:
        """`detection_s_max` to the letter with --long only: who gets no processor takes itself for slow, and then its
        rounds last up to nine times as long."""
        longest_s = self.detection_s_max(nodes)
        return longest_s if within_s(0.0) == 0.0 else max(longest_s, 2 * PATIENCE_S)


QUICK = Timing(probe_interval_s=0.3, probe_timeout_s=0.2, gossip_interval_s=0.1)
"""For tests in which something has to be noticed."""


class PoolMember(ABC):
    """A process in a pool. `lan` is its gossip address, "ip:port"."""

    name: str
    lan: str

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again, without waiting."""

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL, and wait for its end. Safe when it does not run."""

    @abstractmethod
    def log(self) -> str: ...

    @abstractmethod
    async def members(self) -> dict[str, dict[str, Any]]:
        """What it knows: name -> {"Name", "Status", "Tags", "Addr", "Port"} at least. Raises OSError, IpcError."""

    @abstractmethod
    async def join(self, *addresses: str) -> None: ...

    @abstractmethod
    async def leave(self) -> None:
        """Leave gracefully, and end."""

    async def wait_start_over(self) -> None:
        """Until nothing that it began by itself when it was started last still goes on."""
        await trio.lowlevel.checkpoint()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[PoolMember]:
        try:
            self.start()
            await self.wait_statuses({self.name: ALIVE})
            yield self
        finally:
            self.kill()

    async def statuses(self) -> dict[str, int]:
        return {name: one["Status"] for name, one in (await self.members()).items()}

    async def wait_statuses(self, expected: dict[str, int], timeout_s: float = 2 * PATIENCE_S) -> None:
        """Until it sees these members so; others do not matter."""
        seen: dict[str, int] = {}
        with trio.move_on_after(timeout_s):
            while True:
                with contextlib.suppress(*NO_ANSWER):
                    seen = await self.statuses()
                    if all(seen.get(name, GONE) == status for name, status in expected.items()):
                        return
                await trio.sleep(0.03)
        raise AssertionError(f"{self.name} sees {seen}, expected {expected} within {timeout_s} s\n{self.log()[-4000:]}")


class OurMember(PoolMember):
    """Our gossip process by itself: a client of Consul, unless `config` says server=True."""

    def __init__(self, address: str, directory: Path, name: str, timing: Timing | None = None, **config: Any) -> None:
        self.name, self.lan = name, f"{address}:8301"
        files: dict[str, Any] = {"dev_mode": False, "data_dir": str(directory / "data"), "server": False}
        if timing is not None:
            files["gossip_lan"] = timing.ours()
        self.process = GossipProcess(address, directory, name, **{**files, **config})
        self.call: Caller

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[OurMember]:
        async with self.process.link() as self.call, super().running():
            yield self

    def start(self) -> None:
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.process is not None
        return self.process.process.pid

    def kill(self) -> None:
        self.process.kill()

    def log(self) -> str:
        return self.process.log()

    async def members(self) -> dict[str, dict[str, Any]]:
        return {one["Name"]: one for one in await self.call("Members", pool="lan", timeout_s=5.0)}

    async def join(self, *addresses: str) -> None:
        assert await self.call("Join", pool="lan", addresses=list(addresses)) == len(addresses)

    async def leave(self) -> None:
        await self.call("Leave", pool="lan")
        assert await in_thread(self.process.stop) == 0


class ConsulMember(PoolMember):
    """A real Consul 1.8.7 agent. `server`: how many servers it expects; 0 makes a client."""

    def __init__(
        self,
        address: str,
        directory: Path,
        binary: Path,
        name: str,
        *,
        server: int = 0,
        timing: Timing | None = None,
        arguments: Sequence[str] = (),
        config: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.lan = name, f"{address}:8301"
        role = [] if server == 1 else [f"-bootstrap-expect={server}"] + ["-server=false"] * (not server)
        # Elections of a lone server are over sooner.
        settings = {"performance": {"raft_multiplier": 1}} if server == 1 else {}
        settings |= {**(config or {}), **({} if timing is None else {"gossip_lan": timing.consul()})}
        self.agent = RealConsul(
            address, directory, binary, [*role, *arguments], dev=False, node_name=name, config=settings
        )
        self._said_before = 0

    def start(self) -> None:
        self._said_before = len(self.log())
        self.agent.start()

    @property
    def pid(self) -> int:
        return self.agent.pid

    def kill(self) -> None:
        self.agent.destroy()

    def log(self) -> str:
        return self.agent.output()

    async def members(self) -> dict[str, dict[str, Any]]:
        answer = await in_thread(partial(self.agent.http, "GET", "/v1/agent/members", timeout_s=5))
        return {one["Name"]: one for one in answer.json()}

    async def wait_start_over(self) -> None:
        """Until it has joined the addresses it was told to (-retry-join). Without any there is nothing to wait for.

        Serf says that it joined only once it has tried them all, with whatever time its clock then has, even if it
        was asked to leave meanwhile. The leaving then looks older than the joining: everybody, real agents too, takes
        the member back for alive, and for failed when it goes."""
        if not any(argument.startswith("-retry-join=") for argument in self.agent.arguments):
            return
        with trio.move_on_after(2 * PATIENCE_S):
            while "Join cluster completed" not in self.log()[self._said_before :]:
                await trio.sleep(0.05)
            return
        raise AssertionError(f"{self.name} did not join\n{self.log()[-4000:]}")

    async def join(self, *addresses: str) -> None:
        joined = await in_thread(self.agent.cli, "join", *addresses)
        assert joined.returncode == 0, joined.stderr

    async def leave(self) -> None:
        # It answers when it has left, and may be gone before the answer is written.
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            left = await in_thread(partial(self.agent.http, "PUT", "/v1/agent/leave", timeout_s=2 * PATIENCE_S))
            assert left.status == 200, left
        assert await in_thread(self.agent.wait_exit, 2 * PATIENCE_S) == 0


class SerfMember(PoolMember):
    """A real serf 0.9.4 agent. handlers: its event handlers, such as "user=cat > file"."""

    def __init__(
        self, address: str, directory: Path, binary: Path, name: str, *arguments: str, handlers: Sequence[str] = ()
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name, self.lan, self._rpc = name, f"{address}:7946", f"{address}:7373"
        self._binary, self._arguments, self._output = binary, list(arguments), directory / "serf.log"
        self._arguments += [f"-event-handler={handler}" for handler in handlers]
        self._arguments += [f"-snapshot={directory}/snapshot"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(self._binary), "agent", f"-bind={self.lan}", f"-rpc-addr={self._rpc}", f"-node={self.name}"]
        with open(self._output, "ab") as output:
            self.process = subprocess.Popen(
                [*command, "-log-level=debug", *self._arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def log(self) -> str:
        return self._output.read_text("utf-8", "replace") if self._output.exists() else ""

    async def cli(self, command: str, *arguments: str, timeout_s: float = PATIENCE_S) -> str:
        """`serf COMMAND`: what it prints. Raises OSError with its words if it fails."""
        words = [str(self._binary), command, f"-rpc-addr={self._rpc}", *arguments]
        run = partial(subprocess.run, words, capture_output=True, text=True, timeout=timeout_s, check=False)
        done = await in_thread(run)
        if done.returncode:
            raise OSError(f"serf {command} {arguments}: {done.stdout}{done.stderr}")
        return str(done.stdout)

    async def members(self) -> dict[str, dict[str, Any]]:
        found = {}
        for one in json.loads(await self.cli("members", "-format=json"))["members"]:
            host, _, port = one["addr"].rpartition(":")
            found[one["name"]] = {
                "Name": one["name"], "Addr": host, "Port": int(port), "Tags": one["tags"],
                "Status": SERF_STATUS[one["status"]],
            }  # fmt: skip
        return found

    async def join(self, *addresses: str) -> None:
        await self.cli("join", *addresses)

    async def leave(self) -> None:
        await self.cli("leave")
        assert self.process is not None
        await in_thread(self.process.wait, 30)


async def wait_all(members: Sequence[PoolMember], expected: dict[str, int], timeout_s: float = 2 * PATIENCE_S) -> None:
    """Until each of them sees it so."""
    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(member.wait_statuses, expected, timeout_s)
