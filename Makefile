# The two commands of the README do all the set-up on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: quickstart test lint bench clean

quickstart: $(STAMP)  ## the whole chain on a small real model, on the CPU
	$(BIN)/korean-llm run recipes/quickstart.yaml
	$(BIN)/korean-llm show runs/quickstart
	@echo
	@echo "report: runs/quickstart/evaluation/report.html"
	@echo "demo:   $(BIN)/korean-llm demo runs/quickstart"

test: $(STAMP) lint  ## lint, types and tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

BASE := runs/quickstart/base/model
BENCHES := loss.py memory.py training.py packing.py documents.py retrieval.py "vocabulary.py bars" "vocabulary.py peers" "vocabulary.py learning" "vocabulary.py table" \
	"tournament.py $(BASE)" "extension_curve.py $(BASE) .artifacts"

bench: $(STAMP)  ## speed and quality against peers, side by side; some take the quickstart's base
	$(BIN)/korean-llm run recipes/quickstart.yaml --until base
	@for one in $(BENCHES); do echo "== $$one"; $(BIN)/python tests/benchmarks/$$one || exit 1; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .artifacts build *.egg-info

# torch first and by its exact pin: asked for by a range, it would bring several gigabytes of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cpu,milvus,dev]"
	touch $(STAMP)
