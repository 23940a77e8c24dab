# What a contributor needs; `.ci/run` does the same in a clean checkout.
PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))

.PHONY: fmt lint types test integration completions manual check

fmt:
	$(BIN)ruff format .
	$(BIN)ruff check --fix .

lint:
	$(BIN)ruff format --check .
	$(BIN)ruff check .

types:
	$(BIN)mypy

test:
	$(BIN)pytest -n auto tests/unit tests/contract

integration:
	$(BIN)pytest -n auto -m "not long" tests/integration

completions:
	$(BIN)fifo-cli completion bash > completions/fifo-cli.bash
	$(BIN)fifo-cli completion zsh > completions/_fifo-cli
	$(BIN)fifo-cli completion fish > completions/fifo-cli.fish

manual:
	$(BIN)fifo-cli manual > man/fifo-cli.1

check: lint types test integration
