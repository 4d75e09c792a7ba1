"""Entry point: python -m services.gossip --config RUN_DIR/agent.json"""

from services.gossip.main import main
from shared.service import run_service

if __name__ == "__main__":
    run_service("gossip", main)
