"""`python -m services.http_gateway --config FILE`."""

from services.http_gateway.service import main
from shared.service import run_service

if __name__ == "__main__":
    run_service("http_gateway", main)
