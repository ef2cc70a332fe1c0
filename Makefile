# make demo     the whole story: calibrate, then track, on a simulated rig; ARGS='--camera 0' for a webcam
# make test     lint, types, layers, tests
# make bench    every figure in half an hour, beside other IK solvers; ARGS='NAME --json' for one
# make bench-full  the same with the counts that the docs quote: an hour or more
# make docs     check that every example of the docs runs
# Each sets up .venv first (again only when the requirements change).

.DEFAULT_GOAL := help
.PHONY: help setup demo lint test bench bench-full docs clean
.DELETE_ON_ERROR:

ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
PEERS := .venv/.peers
# Tests run in two processes, each on one thread: small matrices lose time to thread pools.
TEST_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

help: ## say what can be made
	@sed -n 's/^# \{0,1\}//p' Makefile | head -n 6

setup: $(READY)

$(READY): pyproject.toml constraints.txt scripts/setup.sh
	@scripts/setup.sh

demo: setup
	@$(BIN)/python demo.py $(ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

test: lint
	$(TEST_ENV) $(BIN)/pytest -n 2 $(ARGS)

# The peers serve the bench alone, so nothing else waits for them.
$(PEERS): $(READY)
	@scripts/setup.sh peers

bench: $(PEERS)
	@$(BIN)/vision-ik bench $(ARGS)

bench-full: $(PEERS)
	@$(BIN)/vision-ik bench --full $(ARGS)

docs: setup
	$(TEST_ENV) $(BIN)/pytest tests/test_docs.py $(ARGS)

clean:
	rm -rf build dist out *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find vision_ik calibration sim tests -name __pycache__ -prune -exec rm -rf {} +
