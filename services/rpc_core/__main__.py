from services.rpc_core.main import main
from shared.service import run_service

if __name__ == "__main__":
    run_service("rpc_core", main)
