# make demo and make test need a Debian with python3 (3.11 or later) and make; everything else they get themselves.
.DEFAULT_GOAL := help
.PHONY: help demo test lint format types imports unit chaos coverage fuzz soak mutants gallery compose-test wheel bench clean
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := demo-out

help: ## Show what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

$(VENV)/made: .ci/venv
	.ci/venv $(VENV)
	@touch $@

$(VENV)/demo: $(VENV)/made pyproject.toml
	$(PIP) install --editable '.[examples]'
	@touch $@

$(VENV)/dev: $(VENV)/made pyproject.toml
	$(PIP) install --editable '.[dev,examples]'
	@touch $@ $(VENV)/demo

demo: $(VENV)/demo ## Run the airports example and show its result.
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(BIN)/consecution graph examples/airports.py -D out=$(DEMO)
	$(BIN)/consecution run examples/airports.py -D out=$(DEMO)
	@$(BIN)/python examples/show_distances.py $(DEMO)

test: lint types imports unit wheel ## Run everything that CI runs.

lint: $(VENV)/dev ## Look for mistakes and check the format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev ## Format the code, and repair what can be repaired.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/dev ## Check the types, strictly.
	$(BIN)/mypy

imports: $(VENV)/dev ## Check that lower layers import no higher ones.
	$(BIN)/lint-imports --no-cache

# A deadline that passes on a busy machine proves nothing: that test runs once more, and the summary names it (-rR). A wrong answer never does.
LATE := --reruns 1 -rR --only-rerun '^(Failed|NotInTime): (not within|no .* within|no answer|.* still runs after|Timeout )' \
  --only-rerun '^(TimeoutExpired|NotDone|Unreachable): .*(timed out|in time|within)'

unit: $(VENV)/dev ## Run the tests, four files at a time, the long ones first: they mostly wait (ARGS="..." goes to pytest).
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(LATE) $(ARGS)

chaos: $(VENV)/dev ## Do bad things to a cluster and count every item (ARGS="--seed N --runs N SCENARIO").
	$(BIN)/python -m tests.e2e.chaos $(ARGS)

mutants: $(VENV)/dev ## Plant faults in the code one at a time, and see that a test catches each (ARGS="--jobs N WORD").
	$(BIN)/python -m tests.mutants $(ARGS)

coverage: $(VENV)/dev ## Measure how much of the pure layers the unit tests reach, branch by branch; below 95 % it fails.
	$(BIN)/python -m pytest -q tests/unit consecution --ignore tests/unit/executor/test_inlining.py \
	  --cov --cov-config=pyproject.toml

fuzz: $(VENV)/dev ## Give every decoder and message handler changed inputs (ARGS="--seconds N --seed N --target T --atheris T").
	$(BIN)/python -m tests.fuzz $(ARGS)

gallery: $(VENV)/dev ## Draw the pictures of docs/gallery again.
	$(BIN)/python -m tests.gallery

compose-test: $(VENV)/dev ## Run docker/ and compose.yaml on this machine's Docker engine (some minutes).
	CONSECUTION_TEST_DOCKER=1 $(BIN)/python -m pytest -s -rs tests/e2e/test_compose.py

wheel: $(VENV)/dev ## Build the wheel, install it into a clean environment, run the examples from there.
	.ci/wheel $(BIN)/python

soak: $(VENV)/dev ## Run simulated runs for hours (SEEDS=100000 JOBS=2 FAMILY=levels); goes on where it was ended.
	$(BIN)/python -m consecution.testing.sim soak $(or $(SEEDS),100000) --jobs $(or $(JOBS),1) --family $(or $(FAMILY),replay)

bench: $(VENV)/dev ## Measure, and print the tables.
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove everything that was made here.
	rm -rf $(VENV) build dist $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
