"""The recorded answers are still those of the real Consul, and DebugConfig is equal field by field."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from shared.config.builder import build
from shared.config.debug import debug_config, short_config
from shared.config.options import Options
from tests.loopback import LoopbackPool
from tests.unit.config.judging import Answer, judge
from tests.vectors.config.cases import CASES

VECTORS = Path(__file__).parents[2] / "vectors" / "config"
START_TIMEOUT_S = 60.0
EVERY = 7
"""One of so many cases is asked live in the short form; all of them with --long."""


def _compare_live(cases: list[Any], consul: Path) -> None:
    expected = json.loads((VECTORS / "expected.json").read_text())
    for case in cases:
        with tempfile.TemporaryDirectory() as directory:
            assert judge(consul, case, Path(directory)) == Answer(**expected[case[0]]), case[0]


@pytest.mark.real_consul
def test_a_sample_of_the_recorded_answers_is_still_true(real_consul: Path) -> None:
    _compare_live(CASES[::EVERY], real_consul)


@pytest.mark.slow
@pytest.mark.real_consul
def test_all_recorded_answers_are_still_true(real_consul: Path) -> None:
    _compare_live(CASES, real_consul)


@pytest.mark.real_consul
@pytest.mark.parametrize(
    "arguments", [["-dev"], ["-config-file={config}", "-data-dir={dir}/data"]], ids=["dev", "rich"]
)
def test_debug_config_is_equal(arguments: list[str], real_consul: Path, loopback: LoopbackPool, tmp_path: Path) -> None:
    ip = loopback()
    config = tmp_path / "rich.hcl"
    config.write_text((VECTORS / "rich.hcl").read_text().replace("{dir}", str(tmp_path)).replace("{ip}", ip))
    flags = [text.replace("{config}", str(config)).replace("{dir}", str(tmp_path)) for text in arguments]
    node_id = "6986d059-5cb3-e9a5-6d3a-29e57e68a58b"
    flags += [f"-bind={ip}", f"-client={ip}", "-node=n1", f"-node-id={node_id}"]
    real = _self_of_real_consul(real_consul, flags, ip, tmp_path)

    tree: dict[str, Any] = {"bind_addr": ip, "client_addr": ip, "node_name": "n1", "node_id": node_id}
    if arguments == ["-dev"]:
        ours = build(Options(dev_mode=True, flags=tree))
    else:
        tree["data_dir"] = f"{tmp_path}/data"
        ours = build(Options(config_files=(str(config),), flags=tree))
    assert json.loads(json.dumps(debug_config(ours))) == real["DebugConfig"]
    assert list(debug_config(ours)) == sorted(real["DebugConfig"])
    assert short_config(ours) == real["Config"]


def _self_of_real_consul(consul: Path, flags: list[str], ip: str, directory: Path) -> dict[str, Any]:
    """/v1/agent/self of a real agent, started for this and ended again."""
    with open(directory / "consul.log", "wb") as log:
        process = subprocess.Popen([consul, "agent", *flags], stdout=log, stderr=log, cwd=directory)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                connection = http.client.HTTPConnection(ip, 8500, timeout=START_TIMEOUT_S)
                connection.request("GET", "/v1/agent/self", headers={"X-Consul-Token": "m"})
                response = connection.getresponse()
                body = response.read()
                if response.status == 200:
                    answer: dict[str, Any] = json.loads(body)
                    return answer
            except (OSError, http.client.HTTPException):
                pass
            assert process.poll() is None, (directory / "consul.log").read_text()
            assert time.monotonic() < deadline, (directory / "consul.log").read_text()
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
