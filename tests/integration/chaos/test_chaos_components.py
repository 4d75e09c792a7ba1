"""Components die under load: nothing acknowledged is lost, no wrong answer is given, service is back within 2 s."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import trio

from tests.agents import Agent
from tests.integration.chaos.client import Client
from tests.integration.chaos.workload import Workload
from tests.loopback import LoopbackPool
from tests.promises import within_s

CONNECTIONS = 64
BACK_WITHIN_S = 2.0
ENOUGH_WRITES = 100
"""Acknowledged ones, to say that none is lost."""
WRITES_EACH_ROUND = 20
EVERY_KIND = {"write", "read", "service", "catalog", "register"}


async def wait_for(condition, timeout_s: float, what: str) -> float:
    """Seconds until `condition()` holds."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        await trio.sleep(0.005)
    return time.monotonic() - started


async def settle(load: Workload) -> None:
    """Every register is read once more, after the load, with patience."""
    client = Client(load.address)
    with trio.fail_after(60):
        for register in load.registers.values():
            while not await load.check(client, register):
                await trio.sleep(0.05)
    await client.close()


@pytest.mark.parametrize("component", ["raft_node", "rpc_core", "http_gateway", "gossip", "dns_frontend"])
async def test_a_killed_component_loses_nothing(component: str, tmp_path: Path, loopback: LoopbackPool) -> None:
    agent = Agent(loopback(), tmp_path, dev=False, config={"performance": {"raft_multiplier": 1}})
    with agent.running():
        load = Workload(agent.address, CONNECTIONS, random.Random(1))
        await load.prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            for _ in range(3):
                await wait_for(lambda: set(load.last_success) >= EVERY_KIND, 30, "load")
                load.last_success.clear()
                old = await trio.to_thread.run_sync(agent.kill, component)
                await trio.to_thread.run_sync(agent.wait_restarted, component, old)
                load.last_success.clear()
                served_again_s = within_s(BACK_WITHIN_S)
                await wait_for(
                    lambda: set(load.last_success) >= EVERY_KIND, served_again_s, f"service after {component}"
                )
            await wait_for(lambda: load.acknowledged_writes > ENOUGH_WRITES, 30, f"{ENOUGH_WRITES} writes to judge by")
            load.stop()
        await settle(load)
        assert load.violations == []
        if component != "http_gateway":
            assert load.lost_connections == 0, load.errors


async def kill_all_once(agent: Agent, load: Workload, rng: random.Random) -> None:
    """Starts the agent, loads it for a random moment, kills every process, starts it and checks every register."""
    agent.start()
    await trio.to_thread.run_sync(agent.wait_ready)
    await load.prepare()
    load.stopping = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        enough = load.acknowledged_writes + WRITES_EACH_ROUND
        await wait_for(lambda: load.acknowledged_writes > enough, 30, f"{WRITES_EACH_ROUND} writes to judge by")
        await trio.sleep(rng.uniform(0.05, 0.6))  # the moment of the kill is what each round draws anew
        await trio.to_thread.run_sync(agent.kill_everything)
        load.stop()
    agent.start()
    await trio.to_thread.run_sync(agent.wait_ready)
    await settle(load)
    await trio.to_thread.run_sync(agent.kill_everything)


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(3, id="short"), pytest.param(50, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],
)
async def test_killing_everything_at_once_loses_nothing(rounds: int, tmp_path: Path, loopback: LoopbackPool) -> None:
    rng = random.Random(7)
    agent = Agent(loopback(), tmp_path, dev=False, config={"performance": {"raft_multiplier": 1}})
    load = Workload(agent.address, 16, rng)
    try:
        for _ in range(rounds):
            await kill_all_once(agent, load, rng)
            assert load.violations == []
    finally:
        agent.destroy()
    assert load.acknowledged_writes > WRITES_EACH_ROUND * rounds
