"""The runtime configuration: written, read, replaced; what a service does not have to import for it."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config import runtime
from shared.config.builder import build
from shared.config.options import Options
from shared.config.runtime import ConfigFileError, RuntimeConfig
from shared.config.sections import Ports


def test_what_is_dumped_is_loaded(tmp_path: Path) -> None:
    config = RuntimeConfig.dev(
        tmp_path,
        node_name="n1",
        services=({"name": "web", "tags": ["a"]},),
        serf_lan_allowed_cidrs=("10.0.0.0/8",),
        node_meta={"a": "é"},
    )
    runtime.dump(config, tmp_path / "agent.json")
    assert runtime.load(tmp_path / "agent.json") == config
    assert stat.S_IMODE((tmp_path / "agent.json").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["agent.json"]


def test_dev_is_what_the_builder_makes_of_dev_mode(tmp_path: Path) -> None:
    flags = {"bind_addr": "127.0.0.9", "client_addr": "127.0.0.9", "node_name": "n1"}
    built = build(Options(dev_mode=True, flags=flags))
    made = RuntimeConfig.dev(tmp_path, node_name="n1", bind_addr="127.0.0.9")
    own = ("node_id", "run_dir", "state_dir", "options")
    same = {name: getattr(made, name) for name in RuntimeConfig.FIELDS if name not in own}
    assert same == {name: getattr(built, name) for name in same}


def test_disabled_ports_have_no_listeners(tmp_path: Path) -> None:
    config = RuntimeConfig.dev(tmp_path, bind_addr="::1", ports=Ports(dns=-1, serf_wan=-1, http=80))
    assert (config.dns_listeners, config.http_listeners, config.grpc_listeners) == ((), ("[::1]:80",), ())
    assert config.serf_wan_bind_addr is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"node_name": "a"}', '{"ports": {"http": 1}}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text(text)
    with pytest.raises(ConfigFileError, match=str(path)):
        runtime.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="No such file"):
        runtime.load(tmp_path / "agent.json")


def test_a_record_is_frozen_and_knows_its_fields(tmp_path: Path) -> None:
    config = RuntimeConfig.dev(tmp_path)
    with pytest.raises(AttributeError):
        config.node_name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError, match="bogus"):
        config.replace(bogus=1)
    with pytest.raises(TypeError, match="node_name"):
        RuntimeConfig()  # type: ignore[call-arg]
    assert config.replace(node_name="x").node_name == "x"
    assert config.node_meta is not RuntimeConfig.dev(tmp_path).node_meta


def test_loading_imports_no_parser() -> None:
    heavy = ("pydantic", "hcl2", "dataclasses", "shared.config.builder", "shared.config.hcl1")
    code = f"import sys, shared.config.runtime; sys.exit(any(name in sys.modules for name in {heavy!r}))"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-S", "-c", code], cwd=root, timeout=30, check=False).returncode == 0


def test_host_and_port() -> None:
    for address in ("127.0.0.1:8500", "[::1]:-1"):
        assert runtime.join_host_port(*runtime.split_host_port(address)) == address
    with pytest.raises(ValueError, match="no port"):
        runtime.split_host_port("host")
