"""The real supervisor over toy components: python toy_agent.py --config FILE."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.supervisor import component, process, supervisor
from services.supervisor.main import main

TOY = str(Path(__file__).with_name("toy_component.py"))


def toy_command(component: str, config_path: str) -> list[str]:
    return [sys.executable, TOY, component, "--config", config_path]


def shorten_watchdog(patience_s: float) -> None:
    process.WATCHDOG_S = component.WATCHDOG_S = patience_s
    supervisor._HEALTH_PERIOD_S = patience_s / 4


if __name__ == "__main__":
    if "TOY_WATCHDOG_S" in os.environ:
        shorten_watchdog(float(os.environ["TOY_WATCHDOG_S"]))
    main(sys.argv[1:], command_of=toy_command)
