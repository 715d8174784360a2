# Python 3.11 or 3.12 and make are all that is needed; `make book` brings the rest.
#   make book PYTHON=/path/to/python   another Python
#   make book PROFILE=smoke JOBS=4     another profile, more notebooks at a time
#   make serve PORT=8080               another port
#   make test WORKERS=8                other than 3 test processes at a time

SHELL := /bin/sh
PROFILE ?= cpu
PORT ?= 8000
WORKERS ?= 3
BIN := .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup book serve lab test lint bench environment lock clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## .venv and the front-end packages, as locked
	@python=$$(sh tools/find_python.sh) && "$$python" tools/bootstrap.py

book: setup  ## run the notebooks and build the HTML pages
	@$(BIN)/fewsteps book --profile $(PROFILE) $(if $(JOBS),--jobs $(JOBS))

serve: setup  ## serve the book that was built last, on this machine only
	@$(BIN)/fewsteps serve --port $(PORT)

lab: setup  ## open the notebooks in JupyterLab, on this machine only
	$(BIN)/jupyter lab --ip=127.0.0.1 $(LAB_ARGS) notebooks

test: setup  ## every test, those in a browser included
	@sh tools/find_chromium.sh
	@sh tools/run_tests.sh $(WORKERS) $(PYTEST_ARGS)

lint: setup  ## ruff, pyright, and that no notebook holds outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python tools/outputs.py --check notebooks/*.ipynb
	$(BIN)/python tools/environment.py --check

bench: setup  ## measure how fast it is
	$(BIN)/python tools/bench.py

environment: setup  ## write environment.yml from pyproject.toml
	$(BIN)/python tools/environment.py

lock: setup  ## resolve pyproject.toml into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --no-emit-index-url --generate-hashes --all-extras --python-version 3.11 \
		--no-annotate pyproject.toml -o requirements.lock

clean:  ## remove what the pipeline made
	rm -rf book/_executed book/_build book/_static/vendor book/_static/models .pytest_cache .ruff_cache .hypothesis

distclean: clean  ## remove .venv and node_modules as well
	rm -rf .venv node_modules
