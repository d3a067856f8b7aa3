# Everything is installed into .venv by the first command that needs it; nothing else on the machine changes.
PYTHON ?= python3
BIN := .venv/bin
# Trust what the machine trusts: behind a proxy with a certificate of its own, too.
export UV_SYSTEM_CERTS := true

.PHONY: demo test lint types clean

demo: .venv/.demo
	$(BIN)/filtering demo

test: .venv/.dev
	$(BIN)/python -m pytest

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m numpydoc lint $$(find filtering -name '*.py')

types: .venv/.dev
	$(BIN)/mypy

.venv/.uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	touch $@

# uv applies the tested versions that pyproject.toml lists as constraints.
.venv/.demo: pyproject.toml | .venv/.uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[demo]'
	touch $@

.venv/.dev: pyproject.toml | .venv/.uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv filtering-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
