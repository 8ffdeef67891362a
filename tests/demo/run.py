"""A small run with everything the page shows: base, adapter, index, report; and adapters that fit or do not."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.answering.conftest import write_artifact, write_run
from tests.answering.test_models import write_adapter
from tests.conftest import make_model, make_tokenizer

REPORT = (
    "<!DOCTYPE html><html lang='ko'><title>보고서</title><h1>작은 보고서</h1>"
    "<script>parent.document.title = 'script'</script></html>"
)


def write_whole_run(folder: Path) -> Path:
    """The run; its model has room for a prompt."""
    write_run(folder)
    shutil.rmtree(folder / "base")

    def base(out: Path) -> None:
        tokenizer = make_tokenizer()
        model = make_model(len(tokenizer))
        model.config.max_position_embeddings = 4_096
        model.save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")

    def instruction(out: Path) -> None:
        write_adapter(out / "adapter", Path("../../base/model"))

    def evaluation(out: Path) -> None:
        (out / "report.html").write_text(REPORT, encoding="utf-8")

    write_artifact(folder, "base", base)
    write_artifact(folder, "instruction", instruction)
    write_artifact(folder, "evaluation", evaluation)
    return folder
