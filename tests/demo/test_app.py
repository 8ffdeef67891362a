"""The web application around the page: languages, what may be fetched and what may be sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from demo.app import application
from korean_llm.answering import uploads
from korean_llm.answering.library import Library
from korean_llm.answering.session import Sessions
from korean_llm.machine import Machine
from korean_llm.serving.guard import Keys
from tests.answering.conftest import write_run

CPU = Machine("cpu", 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("runs") / "small")
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "report.html").write_text("<h1>보고서</h1>", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def client(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        sessions = Sessions(run, CPU)
        with TestClient(application(Library(run, CPU), sessions, Keys([])), base_url="http://127.0.0.1") as opened:
            yield opened
        sessions.close()


@pytest.mark.parametrize(("accepted", "place"), [("ko-KR,ko", "/ko/"), ("en-US,en;q=0.9", "/en/"), ("", "/ko/")])
def test_the_first_address_leads_to_the_readers_language(client: TestClient, accepted: str, place: str) -> None:
    answer = client.get("/", headers={"accept-language": accepted}, follow_redirects=False)
    assert answer.status_code == 307 and answer.headers["location"] == place
    assert client.get(place).status_code == 200


def test_a_name_that_is_not_this_machines_gets_nothing(client: TestClient) -> None:
    answer = client.get("/ko/", headers={"host": "rebound.example"})
    assert answer.status_code == 403 and len(answer.content) < 10


def test_the_report_is_saved_and_never_opened_as_a_page_of_ours(client: TestClient) -> None:
    report = client.get("/report.html")
    assert report.status_code == 200 and "보고서" in report.text
    assert report.headers["content-disposition"].startswith("attachment")
    assert report.headers["content-security-policy"] == "sandbox"


def test_no_other_file_can_be_fetched(client: TestClient, run: Path) -> None:
    files = "/ko/gradio_api/file="
    for path in (
        "/etc/passwd",
        run / "recipe.yaml",
        run / "evaluation" / "report.html",
        run / "records" / "feedback.sqlite",
        run / "evaluation" / ".." / "recipe.yaml",
        "../../../../etc/passwd",
        f"{run}/evaluation/..%2frecipe.yaml",
    ):
        assert client.get(f"{files}{path}").status_code in (403, 404), path


def test_uploads_that_are_too_large_are_refused(client: TestClient) -> None:
    def send(size: int) -> int:
        return client.post("/ko/gradio_api/upload", files={"files": ("글.txt", b"a" * size)}).status_code

    assert send(1_000) == 200
    assert send(uploads.MAX_FILE_BYTES + 1) == 413


def test_nothing_describes_the_interface(client: TestClient) -> None:
    for path in ("/docs", "/openapi.json", "/ko/docs", "/ko/openapi.json"):
        assert client.get(path).status_code == 404, path
    assert client.get("/ko/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
