# `make demo` and `make test` need nothing but Python 3.10 or newer: they create the virtual environment themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test lint clean

help:  ## show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@# torch first and alone, so that nothing else decides which build of it is taken
	$(BIN)/pip install --quiet $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP)  ## create the virtual environment .venv

demo: $(STAMP)  ## train an agent on an Atari game from pixels for ten minutes, evaluate it and record videos
	$(BIN)/sb3-dqn demo

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -q -n 2

lint: $(STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove the virtual environment
	rm -rf $(VENV)
