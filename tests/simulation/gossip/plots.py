"""Measures simulated gossip pools of up to 5,000 nodes and draws what comes out into docs/images.

    python tests/simulation/gossip/plots.py [--nodes 5000] [--only GROUP ...] [--draw]

The measurements go to docs/images/gossip.json, from which --draw alone draws again. The whole run takes about ten
minutes of CPU and 2 GB of memory; the same seeds give the same numbers on every machine."""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
sys.path[:0] = [str(REPOSITORY)]

import gossip_theory as theory  # noqa: E402
from gossip_formed import formed_pool  # noqa: E402
from gossip_measure import (  # noqa: E402
    Spread,
    accusations,
    load,
    spread_of_death,
    spread_of_event,
    spread_of_join,
    spread_of_leave,
)
from gossip_sim import GossipSim  # noqa: E402
from svg_plot import Axis, Plot  # noqa: E402

from services.gossip.swim.formulas import push_pull_interval_s  # noqa: E402

IMAGES = REPOSITORY / "docs" / "images"
SIZES = (3, 10, 30, 100, 300, 1000, 3000, 5000)
LOSSES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
SLOW = (1, 2, 4, 8, 16)

Row = dict[str, Any]


def pool(nodes: int, seed: int, **settings: object) -> GossipSim:
    sim = formed_pool(nodes, seed, codec=False, keeps_logs=False, **settings)
    gc.collect()
    gc.freeze()  # millions of long-lived objects need not be looked at again
    return sim


def news(nodes: int) -> Iterator[Row]:
    """A user event, a join, a leave and a death in pools of this size, several times in small ones."""
    for seed in range(max(1, min(20, 3000 // nodes))):
        sim = pool(nodes, 1000 + seed)
        sim.run(1)
        spreads = {"event": spread_of_event(sim), "join": spread_of_join(sim), "leave": spread_of_leave(sim)}
        # In a pool of its own: memberlist counts also those that left when it asks how many could confirm.
        sim = pool(nodes, 1500 + seed)
        sim.run(1)
        spreads["death"] = spread_of_death(sim)
        for kind, spread in spreads.items():
            yield {
                "nodes": nodes, "kind": kind, "first_s": spread.first_s,
                "half_s": spread.share_s(0.5), "last_s": spread.last_s,
            }  # fmt: skip


def idle(nodes: int) -> Row:
    sim = pool(nodes, 2000)
    sim.run(1)
    quiet = load(sim, 20 if nodes <= 300 else 4)
    one, other = sim.nodes[0], sim.nodes[1]
    before = one.traffic.stream_bytes
    sim.push_pull(one, other.address, join=False)
    state_bytes = one.traffic.stream_bytes - before
    return {
        "nodes": nodes, "packets": quiet.packets, "packet_bytes": quiet.packet_bytes,
        "state_bytes": state_bytes,
        # Everybody begins one exchange per interval and takes part in another, and sends its state in both.
        "stream_bytes": 2 * state_bytes / push_pull_interval_s(30.0, nodes),
    }  # fmt: skip


def coverage(loss: float) -> Row:
    sim = pool(1000, 3000)
    sim.network.loss = loss
    sim.run(1)
    spread: Spread = spread_of_event(sim, 4)
    shares = [share / 50 for share in range(51)]
    return {"loss": loss, "shares": shares, "times_s": [spread.share_s(share) for share in shares[:-1]]
            + [spread.last_s], "reached": len(spread.times_s)}  # fmt: skip


def probes(loss: float, streams: bool) -> Row:
    sim = pool(100, 4000)
    sim.network.loss, sim.network.no_streams = loss, not streams
    found = accusations(sim, 60)
    return {"loss": loss, "streams": streams, "failed": found.failed_probes / found.probes,
            "probes": found.probes, "victims": found.victims}  # fmt: skip


def slow_members(slow: int, lifeguard: bool) -> Row:
    swim = {} if lifeguard else {"suspicion_max_mult": 1, "awareness_max": 1}
    sim = pool(100, 5000, swim=swim)
    deaf = sim.nodes[:slow]
    sim.deafen_cyclically(deaf, 16.0, 0.25)
    found = accusations(sim, 60, deaf)
    return {"slow": slow, "lifeguard": lifeguard, "victims": found.victims, "deaths": found.deaths,
            "failed_probes": found.failed_probes}  # fmt: skip


def groups(largest: int) -> dict[str, Callable[[], list[Row]]]:
    """What can be measured, by name."""
    sizes = [size for size in SIZES if size <= largest]
    return {
        "coverage": lambda: [_timed(coverage, loss) for loss in (0.0, 0.1, 0.2, 0.3)],
        "probes": lambda: [_timed(probes, loss, streams) for streams in (True, False) for loss in LOSSES],
        "slow": lambda: [_timed(slow_members, slow, lifeguard) for lifeguard in (True, False) for slow in SLOW],
        "idle": lambda: [_timed(idle, size) for size in sizes],
        "news": lambda: [row for size in sizes for row in _timed(lambda size: list(news(size)), size)],
    }


def _timed(what: Callable[..., Any], *arguments: object) -> Any:
    started = time.process_time()
    result = what(*arguments)
    gc.unfreeze()
    gc.collect()
    shown = result if isinstance(result, dict) else result[-1]
    brief = {key: value for key, value in shown.items() if not isinstance(value, list)}
    print(f"{time.process_time() - started:7.1f} s  {brief}", file=sys.stderr, flush=True)
    return result


def _json(found: dict[str, list[Row]]) -> str:
    """One line per row, so that changes can be read; more digits than these mean nothing."""
    groups = []
    for name, rows in found.items():
        lines = ",\n".join("  " + json.dumps(_rounded(row)) for row in rows)
        groups.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(groups) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


# ---- drawing -----------------------------------------------------------------------------------------------------


def draw(found: dict[str, list[Row]]) -> dict[str, Plot]:
    sizes = sorted({row["nodes"] for row in found["news"]})
    smooth = [*range(3, 30)] + [round(30 * 1.06**step) for step in range(90)]
    smooth = [size for size in smooth if size <= sizes[-1]]
    nodes = Axis("members of the pool", sizes, log=True)

    def middle(kind: str, what: str) -> list[tuple[float, float]]:
        rows = [row for row in found["news"] if row["kind"] == kind]
        return [(size, statistics.median(row[what] for row in rows if row["nodes"] == size)) for size in sizes]

    spread = Plot("Until everybody knows (median)", nodes, Axis("seconds", (0, 0.5, 1, 1.5, 2, 2.5)))
    spread.line("user event", middle("event", "last_s"), 0)
    spread.line("join", middle("join", "last_s"), 2)
    spread.line("leave: two rumours, one after the other", middle("leave", "last_s"), 1)
    spread.line("one rumour, after Pittel", [(size, theory.spread_s(size)) for size in smooth], 4, dashed=True)

    detection = Plot("From a crash until it is known (median)", nodes, Axis("seconds", (0, 4, 8, 12, 16, 20)))
    detection.line("first member declares it dead", middle("death", "first_s"), 0)
    detection.line("everybody knows", middle("death", "last_s"), 1)
    soonest = [(size, theory.first_suspicion_s(size) + theory.suspicion_s(size)[0]) for size in smooth]
    detection.line("first failed probe (SWIM) + shortest suspicion", soonest, 4, dashed=True)

    reached = Plot(
        "A user event among 1,000 members, by packets lost",
        Axis("seconds since it was sent", (0, 0.2, 0.4, 0.6, 0.8, 1, 1.2)),
        Axis("% of the members", (0, 20, 40, 60, 80, 100)),
        dots=False,
    )
    for colour, row in enumerate(found["coverage"]):
        points = [(at, 100 * share) for at, share in zip(row["times_s"], row["shares"], strict=True) if at < 60]
        reached.line(f"{row['loss']:.0%} lost", points, colour)

    accused = Plot(
        "Probes of living members that fail, 100 members",
        Axis("% of packets lost", [100 * loss for loss in LOSSES]),
        Axis("% of probes", (0, 5, 10, 15, 20, 25)),
    )
    for streams, label, colour in ((False, "packets only", 1), (True, "with the fallback to TCP", 0)):
        points = [(100 * row["loss"], 100 * row["failed"]) for row in found["probes"] if row["streams"] == streams]
        accused.line(label, points, colour)
    expected = [(loss, 100 * theory.failed_probes(loss / 100)) for loss in range(31)]
    accused.line("packets only, after SWIM 3.1", expected, 4, dashed=True)

    most = max(row["deaths"] for row in found["slow"])
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000) if 6 * step >= most)
    saved = Plot(
        "Healthy members declared dead by slow ones, 100 members, one minute",
        Axis("slow members (deaf for 16 s, awake for 0.25 s, and again)", SLOW, log=True),
        Axis("false deaths, over all members", [step * count for count in range(7)]),
    )
    for lifeguard, label, colour in ((False, "SWIM alone", 1), (True, "with Lifeguard", 0)):
        saved.line(label, [(row["slow"], row["deaths"]) for row in found["slow"] if row["lifeguard"] == lifeguard],
                   colour)  # fmt: skip

    bytes_per_s = Axis("bytes per second, before compression", (10, 100, 1000, 10000), log=True)
    cost = Plot("What an idle member sends", nodes, bytes_per_s)
    cost.line("probes and answers", [(row["nodes"], row["packet_bytes"]) for row in found["idle"]], 0)
    cost.line("exchanges of states", [(row["nodes"], row["stream_bytes"]) for row in found["idle"]], 1)

    return {"spread": spread, "detection": detection, "coverage": reached, "loss": accused, "lifeguard": saved,
            "load": cost}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=SIZES[-1], help="size of the largest pool")
    parser.add_argument("--draw", action="store_true", help="only draw what was measured before")
    parser.add_argument("--only", nargs="+", choices=groups(0), help="measure only this again")
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    data = IMAGES / "gossip.json"
    found = json.loads(data.read_text()) if options.draw or options.only else {}
    if not options.draw:
        for name, measure in groups(options.nodes).items():
            if not options.only or name in options.only:
                found[name] = measure()
        data.write_text(_json(found))
    for name, plot in draw(found).items():
        (IMAGES / f"gossip-{name}.svg").write_text(plot.render())


if __name__ == "__main__":
    main()
