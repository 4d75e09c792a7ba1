"""Keyring files: made from `encrypt`, winning over it afterwards, refused in Consul's words where they are damaged."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.gossip.codec.keyring import Keyring
from services.gossip.keyring_file import load_keyrings, save_keyring
from services.gossip.pool_settings import PoolName
from shared import log
from shared.config.runtime import RuntimeConfig
from shared.service import SUPERVISOR_PID_VARIABLE, StartError

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def keyrings(directory: Path, **config: Any) -> dict[PoolName, Keyring | None]:
    """Of a server with a data directory, or as `config` says."""
    given = RuntimeConfig.dev(directory / "run", node_name="n", bind_addr="127.0.0.1")
    settings = {"dev_mode": False, "data_dir": str(directory), "disable_keyring_file": False, **config}
    return load_keyrings(given.replace(**settings), ["wan", "lan"] if settings.get("server", True) else ["lan"])


def test_keyring_files_are_made_once_and_win_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "serf" / "local.keyring"
    assert keyrings(tmp_path) == {"lan": None, "wan": None}
    rings = keyrings(tmp_path, encrypt=KEY)
    for ring, name in ((rings["lan"], "local"), (rings["wan"], "remote")):
        assert ring is not None
        assert ring.keys == [bytes(range(32))]
        file = tmp_path / "serf" / f"{name}.keyring"
        assert (file.stat().st_mode & 0o777, file.read_text()) == (0o600, f'["{KEY}"]')
    ring = rings["lan"]
    assert ring is not None
    ring.add(b"x" * 16)
    ring.use(b"x" * 16)
    ring.remove(bytes(range(32)))
    assert save_keyring(str(path), "", ring) is None
    assert path.read_text() == '[\n  "eHh4eHh4eHh4eHh4eHh4eA=="\n]'
    again = keyrings(tmp_path, encrypt=KEY)
    assert again["lan"] is not None
    assert again["lan"].keys == [b"x" * 16]
    assert again["wan"] is not None
    assert again["wan"].keys == [bytes(range(32))]


def test_the_key_of_the_configuration_is_warned_about_where_a_file_lacks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keyrings(tmp_path, encrypt=KEY)
    (tmp_path / "serf" / "remote.keyring").write_text('["eHh4eHh4eHh4eHh4eHh4eA=="]')
    keyrings(tmp_path, encrypt=KEY)
    text = "[WARN]  agent:  keyring doesn't include key provided with -encrypt, using keyring: keyring="
    log.flush()
    shown = capsys.readouterr()
    assert re.findall(rf"{re.escape(text)}(\w+)", shown.out + shown.err) == ["WAN"]


def test_keys_without_files_and_of_clients(tmp_path: Path) -> None:
    for config in ({"disable_keyring_file": True}, {"dev_mode": True}):
        rings = keyrings(tmp_path, encrypt=KEY, **config)
        assert [ring.keys for ring in rings.values() if ring] == [[bytes(range(32))]] * 2
    assert list(tmp_path.iterdir()) == []
    assert list(keyrings(tmp_path, server=False, encrypt=KEY)) == ["lan"]
    assert [one.name for one in (tmp_path / "serf").iterdir()] == ["local.keyring"]


@pytest.mark.parametrize("config", [{"disable_keyring_file": True}, {"dev_mode": True, "data_dir": ""}])
def test_keys_in_memory_are_lost_with_the_agent_but_not_with_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    def run(number: str) -> tuple[Keyring, str]:
        monkeypatch.setenv(SUPERVISOR_PID_VARIABLE, number)
        ring = keyrings(tmp_path, encrypt=KEY, **config)["lan"]
        assert ring is not None
        return ring, str(tmp_path / "run" / "serf-local.keyring")

    ring, path = run("100")
    assert not Path(path).exists()
    ring.add(b"x" * 16)
    ring.use(b"x" * 16)
    ring.remove(bytes(range(32)))
    assert save_keyring(path, "100", ring) is None
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert run("100")[0].keys == [b"x" * 16]
    assert run("101")[0].keys == [bytes(range(32))]
    for content in ("damaged", "[]", '{"run": "100", "keys": [7]}', '{"run": "100", "keys": []}', '{"run": "100"}'):
        Path(path).write_text(content)
        assert run("100")[0].keys == [bytes(range(32))]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "unexpected end of JSON input"),
        ("[", "unexpected end of JSON input"),
        (f'["{KEY}"] x', "invalid character 'x' after top-level value"),
        ("[]", "no keys present in keyring: {path}"),
        ("null", "no keys present in keyring: {path}"),
        ("{}", "json: cannot unmarshal object into Go value of type []string"),
        ("[1]", "json: cannot unmarshal number into Go value of type string"),
        ("[null]", "key size must be 16, 24 or 32 bytes"),
        ('["!!"]', "illegal base64 data at input byte 0"),
        ('["AAAA"]', "key size must be 16, 24 or 32 bytes"),
        (f'["{KEY}", "AA"]', "illegal base64 data at input byte 0"),
    ],
)
def test_what_is_wrong_with_a_keyring_file_is_said_in_consuls_words(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "serf").mkdir()
    for name in ("local", "remote"):
        (tmp_path / "serf" / f"{name}.keyring").write_text(f'["{KEY}"]')
        path = tmp_path / "serf" / f"{name}.keyring"
        path.write_text(content)
        for encrypt in ("", KEY):
            with pytest.raises(StartError) as error:
                keyrings(tmp_path, encrypt=encrypt)
            assert str(error.value) == f"Failed to configure keyring: {text.format(path=path)}"
        path.write_text(f'["{KEY}"]')


def test_a_keyring_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "serf" / "local.keyring"
    path.mkdir(parents=True)
    with pytest.raises(StartError) as error:
        keyrings(tmp_path)
    assert str(error.value) == f"Failed to configure keyring: read {path}: is a directory"
    problem = save_keyring(str(path), "", Keyring([b"x" * 16]))
    assert problem == f"Failed to write keyring file: open {path}: is a directory"
    assert [one.name for one in path.parent.iterdir()] == ["local.keyring"]


def test_a_bad_encrypt_key_is_refused(tmp_path: Path) -> None:
    for disable, text in ((True, "key size must be"), (False, "Invalid key: key size must be")):
        with pytest.raises(StartError, match=f"Failed to configure keyring: {text}"):
            keyrings(tmp_path, encrypt="c2hvcnQ=", disable_keyring_file=disable)
    assert list(tmp_path.iterdir()) == []
