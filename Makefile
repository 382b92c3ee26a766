# make test     everything a fresh machine needs, then lint, type-check and test
# make demo     what quorum is, in twenty seconds; needs Python and, once, an index of packages
# make soak     HISTORIES=10000 simulated histories, some half an hour; then clients on a three-node cluster that is
#               hurt in every way, for MINUTES=60
# make system-calls    each system call of the client fails once, in each plausible way; some ten minutes
# make age-of-truth    how long a node that is cut off still says that it is quorate; some forty minutes
# make mutants  small changes to the modules that decide, which the tests must notice; MODULES=... SAMPLE=25 SEED=0
# make live-picture    the picture of monitor --live in docs/live.md, half a minute
# make lint     ruff and mypy only
# make bench    measure, next to the C library and others; a good minute (BENCH_ARGS=--quick: seconds)
# make docs     the documentation as a site, in build/docs/, and the man pages, in build/man/; warnings are errors
# make man      the man pages alone; a wheel built afterwards has them
# make format   let ruff rewrite the sources
# make model-check   the searches that are too long for make test, long walks that must meet no split brain, and 2,000
#               scenarios of the cluster model against corosync's own code; some five minutes
# make compat   the tests on other releases, Pythons and processors, an hour or more; CELLS="debian-13 ..."
# make deb      the Debian package in dist/, built, checked and tried in chroots of Debian 13
# make dist     the wheel and the sdist in dist/, tested as they are installed
# make lowest   a quick part of the tests, with the lowest versions of everything that pyproject.toml allows
# make clean    remove the virtual environment and caches

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=
MINUTES ?= 60
HISTORIES ?= 10000
SOAK_ARGS ?=
MODULES ?=
SAMPLE ?= 25
SEED ?= 0
# corosync has real-time priority: with more workers than CPUs, daemons starve one another's tests.
WORKERS ?= 2

# What touches most of each dependency in the least time.
LOWEST_TESTS := tests/wire/test_types.py tests/ipc/test_connection.py tests/ipc/test_ring.py \
	tests/client/test_cancel.py tests/cli/test_command.py tests/cli/test_script.py tests/daemon/test_server.py \
	tests/reliability/test_retry.py

.PHONY: demo test lowest live-picture soak system-calls age-of-truth mutants lint bench format clean deps model-check compat docs \
	man deb dist

test: lint docs
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lowest: $(VENV)-lowest/.installed deps
	$(VENV)-lowest/bin/python -m pytest --numprocesses $(WORKERS) $(LOWEST_TESTS) $(PYTEST_ARGS)

demo: $(VENV)/.installed-cli
	@$(BIN)/votequorum-ipc demo

soak: $(VENV)/.installed deps
	$(BIN)/python -m tests.simulation --histories $(HISTORIES) --workers $(WORKERS)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(SOAK_ARGS)

system-calls: $(VENV)/.installed deps
	$(BIN)/python -m tests.reliability.syscalls $(SYSTEM_CALLS_ARGS)

age-of-truth: $(VENV)/.installed-bench deps
	$(BIN)/python -m tests.reliability.age_of_truth --out docs/age-of-truth $(AGE_OF_TRUTH_ARGS)

mutants: $(VENV)/.installed deps
	$(BIN)/python -m tests.mutation --sample $(SAMPLE) --seed $(SEED) $(MODULES)

live-picture: $(VENV)/.installed
	$(BIN)/python tools/live_picture.py docs/live.svg

lint: $(VENV)/.installed deps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Neither needs a corosync.
docs: man
	$(BIN)/python -m sphinx -c docs -b html -d build/doctrees/html --fail-on-warning --keep-going --quiet . build/docs
	@echo "the documentation is in build/docs/index.html"

man: $(VENV)/.installed
	$(BIN)/python -m sphinx -c docs -b man -t man -d build/doctrees/man --fail-on-warning --keep-going --quiet . build/man

bench: $(VENV)/.installed-bench deps
	$(BIN)/python -m bench $(BENCH_ARGS)

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

model-check: $(VENV)/.installed deps
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --thorough -m thorough
	$(BIN)/python -m tests.check.walks
	$(BIN)/python -m tests.cluster.model_check $(MODEL_CHECK_ARGS)

compat: $(VENV)/.installed deps
	$(BIN)/python -m tests.compat $(CELLS) --out docs/compatibility.md

deb: $(VENV)/.installed
	$(BIN)/python -m tests.compat.package --out dist

# The sdist's tests, without its sources, so that what they import is the wheel.
dist: $(VENV)/.installed
	rm -rf build/tried dist/*.whl dist/*.tar.gz
	$(BIN)/python -m hatchling build --directory dist
	$(PYTHON) -m venv build/tried
	build/tried/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[test]"
	tar --extract --file dist/*.tar.gz --directory build/tried --strip-components 1
	rm -r build/tried/votequorum_ipc build/tried/votequorum_ipc_pytest.py
	cd build/tried && bin/python -m pytest $(LOWEST_TESTS) $(PYTEST_ARGS)

deps:
	@tools/install-test-deps

$(VENV)/.installed-cli: $(VENV)/.python pyproject.toml
	@echo "installing what the command needs into $(VENV), once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli]'
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed-cli

$(VENV)-lowest/.installed: pyproject.toml tools/lowest-versions
	$(PYTHON) -m venv --clear $(VENV)-lowest
	tools/lowest-versions > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(VENV)-lowest/constraints.txt --editable '.[test]'
	@touch $@

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "votequorum_ipc needs Python 3.11 or newer; run: make test PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean:
	rm -rf build docs/commands docs/man $(VENV) $(VENV)-lowest .mypy_cache .pytest_cache .ruff_cache .hypothesis
