"""`python -m services.supervisor --config FILE`: one agent, in the foreground."""

from __future__ import annotations

import sys

from services.supervisor.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
