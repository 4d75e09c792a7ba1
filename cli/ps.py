"""`ps`: the processes of the agent on this host."""

from __future__ import annotations

from cli.base import ui
from cli.base.text import columnize
from cli.base.usage import usage
from cli.local_agent import LocalAgentError, LocalFlags, ask

NAME = "ps"
SYNOPSIS = "List the processes of the agent on this host"


def HELP() -> str:
    return usage(
        """
Usage: proconsul ps [options]

  Lists the components of the agent on this host: process id, state, time since
  its start, memory (RSS: resident; PSS: with shared pages divided among those
  who share them) and how often it was restarted.
""",
        LocalFlags(),
    )


def run(argv: list[str]) -> int:
    flags = LocalFlags()
    extra = flags.parse(argv)
    if extra:
        ui.error(f"Too many arguments (expected 0, got {len(extra)})")
        return 1
    try:
        processes = ask(flags.find_run_dir(), "Supervisor.Processes")
    except LocalAgentError as error:
        ui.error(f"Error listing processes: {error}")
        return 1
    rows = [["Component", "PID", "State", "Uptime", "RSS", "PSS", "Restarts"]]
    for process in processes:
        alive = bool(process["pid"])
        rows.append(
            [
                process["component"],
                str(process["pid"]) if alive else "-",
                process["state"],
                duration(process["uptime_s"]) if alive else "-",
                megabytes(process["rss_bytes"]) if alive else "-",
                megabytes(process["pss_bytes"]) if alive else "-",
                str(process["restarts"]),
            ]
        )
    ui.output(columnize(rows))
    return 0


def duration(seconds: float) -> str:
    """3725.9 -> "1h2m5s"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


def megabytes(size: int) -> str:
    """24_536_678 -> "23.4MB" (of 1024 x 1024 bytes)."""
    return f"{size / (1 << 20):.1f}MB"
