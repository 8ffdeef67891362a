"""Who may reach a server: addresses, keys, Host headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from korean_llm.cli import app
from korean_llm.errors import KoreanLLMError
from korean_llm.serving.guard import Keys, check_bind, is_loopback, is_own_host

GOOD, OTHER = "a-good-long-key-0001", "a-good-long-key-0002"


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False),
     ("10.1.2.3", False), ("8.8.8.8", False)],
)  # fmt: skip
def test_loopback(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone
    check_bind(host, True, "give a key")
    if not alone:
        with pytest.raises(KoreanLLMError, match=f"--host {host} can be reached from other machines.*give a key"):
            check_bind(host, False, "give a key")


@pytest.mark.parametrize(
    "key", ["short", "a" * 15, "열여섯 글자가 넘는 한국어 열쇠입니다", "sixteen chars or more", "tab\tin-the-middle-of"]
)
def test_weak_keys_are_refused_and_not_repeated(key: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{GOOD}\n{key}\n", encoding="utf-8")
    for file, environment in ((tmp_path / "keys", {}), (None, {"KOREAN_LLM_KEY": key})):
        with pytest.raises(KoreanLLMError, match="at least 16 printable ASCII") as refused:
            Keys.read(file, environment)
        assert key not in str(refused.value)


def test_keys_of_a_file_and_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{GOOD}\n\n{OTHER}\n", encoding="utf-8")
    keys = Keys.read(file, {"KOREAN_LLM_KEY": "x" * 20})
    assert keys.owner(f"Bearer {GOOD}") == "key 1" and keys.owner(f"bearer {OTHER}") == "key 2"
    assert Keys.read(None, {"KOREAN_LLM_KEY": GOOD}).owner(f"Bearer {GOOD}") == "key 1"
    assert not Keys.read(None, {})
    for wrong in (
        None,
        "",
        "Bearer",
        "Bearer ",
        GOOD,
        f"Basic {GOOD}",
        f"Bearer {GOOD}x",
        f"Bearer {'x' * 20}",
        "Bearer \udcff",
    ):
        assert keys.owner(wrong) is None
    assert GOOD not in repr(vars(keys))
    file.write_text("\n", encoding="utf-8")
    for path in (file, tmp_path / "nothing"):
        with pytest.raises(KoreanLLMError, match="--key-file"):
            Keys.read(path, {})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "127.0.0.1", "[::1]:8000", "LOCALHOST:80"]
)
def test_own_hosts(host: str) -> None:
    assert is_own_host(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1",
     "user@localhost", "localhost/x", "[::1", "localhost:port", "0.0.0.0", "::1:8000:9"],
)  # fmt: skip
def test_other_hosts(host: str | None) -> None:
    assert not is_own_host(host)


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (["--host", "0.0.0.0"], {}, "--host 0.0.0.0 can be reached from other machines"),
        (["--host", "0.0.0.0"], {"KOREAN_LLM_KEY": "short"}, "KOREAN_LLM_KEY holds a secret that is not at least 16"),
        (["--key-file", "nowhere"], {}, "--key-file nowhere cannot be read"),
        (["--host", "no.such.host.invalid"], {}, "no.such.host.invalid is no address"),
        (["--port", "0", "--engine", "llama.cpp"], {}, "holds no GGUF file for llama.cpp"),
        (["--port", "0", "--endpoint", "http://169.254.169.254/v1"], {}, "link-local or metadata address"),
        (["--port", "0", "--endpoint", "http://user:secret@127.0.0.1/v1"], {}, "has a user name or password"),
    ],
)  # fmt: skip
def test_the_verb_refuses_in_one_sentence(served_run: Path, options: list[str], environment: dict, said: str) -> None:
    environment = {"KOREAN_LLM_KEY": "", **environment}
    shown = CliRunner().invoke(app, ["serve", str(served_run), "--device", "cpu", *options], env=environment)
    assert isinstance(shown.exception, KoreanLLMError) and said in str(shown.exception)
    assert "secret@" not in str(shown.exception)
