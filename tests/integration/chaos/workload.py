"""A mixed load that knows what it may see: every answer is checked, every acknowledged write is remembered.

A request without an answer, or with a 500, has an unknown outcome: both possibilities stay allowed until a read
decides. Anything else that contradicts an acknowledged write is a violation.
"""

from __future__ import annotations

import base64
import json
import random
import time
from dataclasses import dataclass, field

import trio

from tests.integration.chaos.client import BrokenError, Client


@dataclass(slots=True)
class Register:
    """What one key may hold. Only one worker writes it, so the history is a sequence."""

    key: str
    next_value: int = 1
    possible: set[int] = field(default_factory=lambda: {0})

    def acknowledged(self, value: int) -> None:
        self.possible = {value}

    def unknown(self, value: int) -> None:
        self.possible.add(value)

    def seen(self, value: int) -> bool:
        """Whether a read may return `value`; from then on it is the truth, until a later write of unknown outcome takes
        place, which may still be on its way."""
        allowed = value in self.possible
        self.possible = {value, *(later for later in self.possible if later > value)}
        return allowed


@dataclass(slots=True)
class Workload:
    """connections are shared out: half write and read their own key, the rest reads, registers and watches."""

    address: str
    connections: int
    rng: random.Random
    violations: list[str] = field(default_factory=list)
    registers: dict[str, Register] = field(default_factory=dict)
    acknowledged_writes: int = 0
    unknown_writes: int = 0
    reads: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    lost_connections: int = 0
    last_success: dict[str, float] = field(default_factory=dict)
    stopping: bool = False

    async def prepare(self) -> None:
        """Five instances of a service `fixed` that nothing changes afterwards."""
        client = Client(self.address)
        for number in range(5):
            body = {
                "Node": f"fixed-{number}",
                "Address": f"10.9.0.{number}",
                "Service": {"Service": "fixed", "ID": "fixed", "Port": 1000 + number},
            }
            status, _, text = await client.request("PUT", "/v1/catalog/register", json.dumps(body).encode())
            assert status == 200, text
        await client.close()

    async def run(self) -> None:
        """Runs until `stop`; never raises for what the agent does, notes it."""
        kinds = [self._write_and_read] * 4 + [self._read_service, self._read_catalog, self._register, self._watch]
        async with trio.open_nursery() as nursery:
            for number in range(self.connections):
                nursery.start_soon(self._worker, kinds[number % len(kinds)], number)

    def stop(self) -> None:
        self.stopping = True

    async def _worker(self, kind, number: int) -> None:
        client = Client(self.address)
        try:
            while not self.stopping:
                await kind(client, number)
        finally:
            self.lost_connections += client.losses
            await client.close()

    async def _ask(self, client: Client, method: str, target: str, body: bytes = b"") -> tuple[int, bytes] | None:
        """Status and body; None if the outcome is unknown (no answer, or a 500 that says so)."""
        try:
            status, _, answer = await client.request(method, target, body)
        except BrokenError as error:
            self._count(f"broken: {error}"[:60])
            await trio.sleep(0.02)
            return None
        if status == 500:
            self._count(f"500: {answer[:70].decode('utf-8', 'replace')}")
            if not answer.strip():
                self.violations.append(f"{method} {target}: a 500 without a text")
            await trio.sleep(0.02)
            return None
        return status, answer

    def _count(self, what: str) -> None:
        self.errors[what] = self.errors.get(what, 0) + 1

    def _succeeded(self, kind: str) -> None:
        self.last_success[kind] = time.monotonic()

    async def _write_and_read(self, client: Client, number: int) -> None:
        register = self.registers.setdefault(f"chaos/{number}", Register(f"chaos/{number}"))
        value = register.next_value
        register.next_value += 1
        answer = await self._ask(client, "PUT", f"/v1/kv/{register.key}", str(value).encode())
        if answer is None:
            register.unknown(value)
            self.unknown_writes += 1
        elif answer != (200, b"true"):
            self.violations.append(f"PUT {register.key}: {answer}")
            register.unknown(value)
        else:
            register.acknowledged(value)
            self.acknowledged_writes += 1
            self._succeeded("write")
        await self.check(client, register)

    async def check(self, client: Client, register: Register) -> bool:
        """One read of the register, checked against what it may hold. False if it got no answer."""
        answer = await self._ask(client, "GET", f"/v1/kv/{register.key}")
        if answer is None:
            return False
        status, body = answer
        if status == 404:
            value = 0
        elif status == 200:
            value = int(base64.b64decode(json.loads(body)[0]["Value"]))
        else:
            self.violations.append(f"GET {register.key}: {answer}")
            return True
        allowed = sorted(register.possible)
        if not register.seen(value):
            self.violations.append(f"{register.key} holds {value}, allowed was {allowed}")
        self.reads += 1
        self._succeeded("read")
        return True

    async def _read_service(self, client: Client, number: int) -> None:
        answer = await self._ask(client, "GET", "/v1/health/service/fixed?passing")
        if answer is None:
            return
        status, body = answer
        if status != 200 or len(json.loads(body)) != 5:
            self.violations.append(f"health/service/fixed: {status} {body[:200]!r}")
        self.reads += 1
        self._succeeded("service")

    async def _read_catalog(self, client: Client, number: int) -> None:
        answer = await self._ask(client, "GET", "/v1/catalog/services")
        if answer is not None:
            status, body = answer
            if status != 200 or "fixed" not in json.loads(body):
                self.violations.append(f"catalog/services: {status} {body[:200]!r}")
            self.reads += 1
            self._succeeded("catalog")

    async def _register(self, client: Client, number: int) -> None:
        body = {
            "Node": f"moving-{number}",
            "Address": "10.8.0.1",
            "Service": {"Service": "moving", "ID": "moving", "Port": self.rng.randrange(1000, 60000)},
        }
        answer = await self._ask(client, "PUT", "/v1/catalog/register", json.dumps(body).encode())
        if answer is not None:
            if answer != (200, b"true"):
                self.violations.append(f"catalog/register: {answer}")
            self._succeeded("register")

    async def _watch(self, client: Client, number: int) -> None:
        """A blocking query on a neighbour's key; its index never goes back."""
        target = f"/v1/kv/chaos/{number // 8 * 8}"
        try:
            _, headers, _ = await client.request("GET", target)
            index = int(headers.get("x-consul-index", "0"))
            status, headers, _ = await client.request("GET", f"{target}?index={index}&wait=2s")
        except BrokenError as error:
            self._count(f"broken: {error}"[:60])
            await trio.sleep(0.02)
            return
        if status in (200, 404) and index and int(headers.get("x-consul-index", "0")) < index:
            self.violations.append(f"{target}: the index went from {index} to {headers.get('x-consul-index')}")
        self._succeeded("watch")
