# Everything is installed into .venv by the first command that needs it; nothing else on the machine changes.
PYTHON ?= python3
BIN := .venv/bin
# Trust what the machine trusts: behind a proxy with a certificate of its own, too.
export UV_SYSTEM_CERTS := true
# Compiled modules are kept: without them each of the many processes of a run or of the tests compiles torch again.
unexport PYTHONDONTWRITEBYTECODE

# Two workers: each has a Ray, an S3 and temporary folders of its own. A file's tests stay together, the slow ones first.
# Where a worker's process dies, the run ends with the test's name: xdist would wait for ever with another in its place.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# How much of each property and of each enumeration is tried: quick, full or thorough (tests/conftest.py).
PROFILE ?= full

.PHONY: demo test check test-oldest test-streaming lint types docs clean

demo: .venv/.demo
	$(BIN)/filtering demo

test: .venv/.dev
	$(PYTEST) --hypothesis-profile $(PROFILE)

# What takes seconds, with few examples of each property.
check: .venv/.dev
	$(PYTEST) -m "not slow" --hypothesis-profile quick

# Reading kept samples with the oldest webdataset that is supported, which open_clip's trainer pins.
OLDEST := webdataset==0.2.86
test-oldest: .venv/.dev
	rm -rf .venv/oldest
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/oldest '$(OLDEST)'
	PYTHONPATH=.venv/oldest $(PYTEST) -m "not slow" --hypothesis-profile quick tests/loaders tests/samplers

# Reading the mds export with MosaicML Streaming, which wants older versions of numpy and transformers than others here.
STREAMING := mosaicml-streaming==0.13.0 transformers==4.57.6 huggingface-hub==0.36.2 tokenizers==0.22.2 zstd==1.5.7.2 \
	xxhash==3.8.2 brotli==1.2.1 python-snappy==0.7.3 cramjam==2.14.0 catalogue==2.0.10
test-streaming: .venv/.dev
	rm -rf .venv/streaming
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/streaming $(STREAMING)
	PYTHONPATH=.venv/streaming $(BIN)/python -c 'import streaming'
	PYTHONPATH=.venv/streaming $(BIN)/python -m pytest -k mds tests/exports/test_export_chunks.py

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m numpydoc lint $$(find filtering -name '*.py')

types: .venv/.dev
	$(BIN)/mypy

# The documentation as a site in build/site: all links are checked, and a warning is an error.
docs: .venv/.docs
	$(BIN)/python -m docs.site

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

.venv/.docs: pyproject.toml | .venv/.uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group docs
	touch $@

clean:
	rm -rf .venv build/docs build/site filtering-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
