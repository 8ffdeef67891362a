"""The page's door: open on loopback, locked to others, and closed to names that are not this machine's."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner

from demo.lock import Lock, read_keys
from korean_llm.cli import app
from korean_llm.errors import KoreanLLMError
from korean_llm.serving.guard import KEY_VARIABLE, Keys

KEY = "0123456789abcdef-key"


def client(keys: list[str], host: str = "127.0.0.1:7860") -> TestClient:
    page = Starlette(routes=[Route("/", lambda _: PlainTextResponse("page"))])
    return TestClient(Lock(page, Keys(keys)), base_url=f"http://{host}")


def basic(password: str, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {base64.b64encode(f'reader:{password}'.encode()).decode()}"}


def test_a_key_opens_and_nothing_else_does(caplog: pytest.LogCaptureFixture) -> None:
    page = client([KEY, KEY + "2"], host="example.org")
    assert page.get("/", headers=basic(KEY)).text == page.get("/", headers=basic(KEY + "2")).text == "page"
    wrong = [{}, basic(""), basic(KEY[:-1]), basic("가" * 16), basic(KEY, "Bearer"), {"authorization": "Basic %%%"}]
    for headers in wrong:
        answer = page.get("/", headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic")
        assert "page" not in answer.text
    assert caplog.text.count("refused /") == len(wrong) and KEY[:-1] not in caplog.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
    ],
)
def test_without_keys_only_this_machines_names_are_answered(host: str, status: int) -> None:
    assert client([], host).get("/").status_code == status


def test_where_keys_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    file = tmp_path / "keys.txt"
    file.write_text(f"\n{KEY}\n {KEY}2 \n", encoding="utf-8")
    assert not read_keys(None, "127.0.0.1")
    read = read_keys(file, "0.0.0.0")
    assert [read.name(key) for key in (KEY, f"{KEY}2", "")] == ["key 1", "key 2", None]
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert read_keys(None, "0.0.0.0").name(KEY) == "key 1"
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(KoreanLLMError, match="at least 16 printable"):
        read_keys(None, "127.0.0.1")
    with pytest.raises(KoreanLLMError, match="cannot be read"):
        read_keys(tmp_path / "none", "127.0.0.1")


def test_other_machines_need_a_key_before_anything_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    result = CliRunner().invoke(app, ["demo", str(tmp_path), "--host", "0.0.0.0", "--port", "0"])
    assert isinstance(result.exception, KoreanLLMError)
    assert "the server must be locked; give --key-file FILE" in str(result.exception)
