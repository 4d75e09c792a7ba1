"""The real supervisor over toy components: python toy_agent.py --config FILE."""

from __future__ import annotations

import sys
from pathlib import Path

from services.supervisor.main import main

TOY = str(Path(__file__).with_name("toy_component.py"))


def toy_command(component: str, config_path: str) -> list[str]:
    return [sys.executable, TOY, component, "--config", config_path]


if __name__ == "__main__":
    main(sys.argv[1:], command_of=toy_command)
