"""A Prometheus that finds its targets through the Consul discovery of some agents."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.agents import Agent, RealConsul, wait_until

PORT = 9090
TIMEOUT_S = 60
_AGENT_LABELS = ("__scrape_interval__", "__scrape_timeout__", "job")
"""Labels of the job, not of the discovery."""


def job(name: str, agent: Agent | RealConsul, **discovery: Any) -> dict[str, Any]:
    """A job that scrapes what an agent knows, as the agent's own metrics: only the agent itself will answer."""
    server = {"server": f"{agent.address}:{agent.http_port}", "refresh_interval": "1s", **discovery}
    return {
        "job_name": name,
        "metrics_path": "/v1/agent/metrics",
        "params": {"format": ["prometheus"]},
        "consul_sd_configs": [server],
    }


class Prometheus:
    def __init__(self, binary: Path, address: str, directory: Path, jobs: list[dict[str, Any]]) -> None:
        self._address = address
        self._output = directory / "prometheus.log"
        config = directory / "prometheus.yml"
        # JSON is YAML, too.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        self._command = [str(binary), f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
        self._command += [f"--web.listen-address={address}:{PORT}", "--log.level=info"]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with open(self._output, "wb") as output:
            process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._output.read_text()[-4000:]}") from None
        finally:
            process.kill()
            process.wait(10)

    def targets(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """job -> service id -> target, as Prometheus' own API describes it."""
        found: dict[str, dict[str, Mapping[str, Any]]] = {}
        for target in self._get("/api/v1/targets")["activeTargets"]:
            labels = target["discoveredLabels"]
            found.setdefault(target["scrapePool"], {})[labels["__meta_consul_service_id"]] = target
        return found

    def wait_services(self, wanted: Mapping[str, set[str]]) -> dict[str, dict[str, Mapping[str, Any]]]:
        """Waits until each job has exactly these services; the targets. Prometheus takes changes over every 5 s."""

        def found() -> dict[str, dict[str, Mapping[str, Any]]] | None:
            targets = self.targets()
            return targets if all(set(targets.get(name, ())) == ids for name, ids in wanted.items()) else None

        try:
            return wait_until(found, TIMEOUT_S, f"the targets {wanted}") or {}
        except AssertionError as error:
            now = {name: sorted(targets) for name, targets in self.targets().items()}
            raise AssertionError(f"{error}; there are {now}") from None

    def value(self, query: str) -> str | None:
        """The first value of a query at this moment."""
        result = self._get(f"/api/v1/query?query={query}")["result"]
        return str(result[0]["value"][1]) if result else None

    def _get(self, path: str) -> Any:
        connection = http.client.HTTPConnection(self._address, PORT, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            if response.status == 503:
                raise http.client.HTTPException("Prometheus is starting")
            answer = json.loads(response.read())
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]


def discovered(target: Mapping[str, Any], agent: Agent | RealConsul) -> dict[str, str]:
    """What the discovery said of a target, with the agent's address masked."""
    labels = target["discoveredLabels"].items()
    return {name: value.replace(agent.address, "ADDRESS") for name, value in labels if name not in _AGENT_LABELS}
