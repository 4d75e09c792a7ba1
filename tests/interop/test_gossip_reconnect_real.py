"""Failed members between our gossip process and real serf agents: tried again by either side, and forgotten at last.

Intervals that serf lets us shorten are short there; ours are Consul's, so these are long forms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.interop.gossip_members import ALIVE, FAILED, GONE, LEFT, OurMember, SerfMember, Timing, wait_all

pytestmark = [pytest.mark.real_consul, pytest.mark.slow]

SERFS_LOCAL = Timing(probe_interval_s=1.0, probe_timeout_s=0.2, gossip_interval_s=0.1, suspicion_mult=3)
RECONNECT_INTERVAL_S = 30.0
REAP_INTERVAL_S = 15.0
Loopback = Callable[[], str]


def serf(loopback: Loopback, directory: Path, binary: Path, **config: str) -> SerfMember:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    options = ["-profile=local", f"-config-file={directory}/config.json"]
    return SerfMember(loopback(), directory, binary, directory.name, *options)


async def test_serf_finds_one_of_ours_again_that_has_lost_its_memory(
    loopback: Loopback, tmp_path: Path, real_serf: Path
) -> None:
    s1 = serf(loopback, tmp_path / "s1", real_serf, reconnect_interval="1s")
    o1 = OurMember(loopback(), tmp_path / "o1", "o1", SERFS_LOCAL)
    async with s1.running(), o1.running():
        await o1.join(s1.lan)
        await wait_all([s1, o1], {"s1": ALIVE, "o1": ALIVE})
        o1.kill()
        await s1.wait_statuses({"o1": FAILED})
        shutil.rmtree(tmp_path / "o1" / "data")
        o1.start()
        await wait_all([s1, o1], {"s1": ALIVE, "o1": ALIVE})


async def test_ours_finds_a_serf_agent_again_that_has_lost_its_memory(
    loopback: Loopback, tmp_path: Path, real_serf: Path
) -> None:
    s1 = serf(loopback, tmp_path / "s1", real_serf)
    o1 = OurMember(loopback(), tmp_path / "o1", "o1", SERFS_LOCAL)
    async with s1.running(), o1.running():
        await o1.join(s1.lan)
        await wait_all([s1, o1], {"s1": ALIVE, "o1": ALIVE})
        s1.kill()
        await o1.wait_statuses({"s1": FAILED})
        (tmp_path / "s1" / "snapshot").unlink()
        s1.start()
        # Even when the process that saw it fail is another one by now.
        o1.kill()
        o1.start()
        await o1.wait_statuses({"o1": ALIVE, "s1": FAILED})
        await wait_all([s1, o1], {"s1": ALIVE, "o1": ALIVE}, 3 * RECONNECT_INTERVAL_S)


async def test_both_kinds_forget_members_when_it_is_time(loopback: Loopback, tmp_path: Path, real_serf: Path) -> None:
    short = {"reconnect_timeout": "1s", "tombstone_timeout": "1s"}
    s1, s2, s3 = (serf(loopback, tmp_path / name, real_serf, **short) for name in ("s1", "s2", "s3"))
    o1 = OurMember(loopback(), tmp_path / "o1", "o1", SERFS_LOCAL, reconnect_timeout_s=1.0)
    o2, o3 = (OurMember(loopback(), tmp_path / name, name, SERFS_LOCAL) for name in ("o2", "o3"))
    everybody = (s1, s2, s3, o1, o2, o3)
    async with s1.running(), s2.running(), s3.running(), o1.running(), o2.running(), o3.running():
        for member in everybody[1:]:
            await member.join(s1.lan)
        await wait_all(everybody, {member.name: ALIVE for member in everybody})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s3.leave)
            nursery.start_soon(o3.leave)
        await wait_all([o1], {"s3": LEFT, "o3": LEFT})
        s2.kill()
        o2.kill()
        # Ours forgets the failed; who left stays for Consul's 24 hours.
        await wait_all([s1], {"s2": GONE, "o2": GONE, "s3": GONE, "o3": GONE}, 4 * REAP_INTERVAL_S)
        await wait_all([o1], {"s2": GONE, "o2": GONE, "s3": LEFT, "o3": LEFT}, 4 * REAP_INTERVAL_S)
        await wait_all([s1, o1], {"s1": ALIVE, "o1": ALIVE})
