# One command each: `make run` shows the product at work, `make test` runs every test, `make check` is what CI runs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: run test faults check setup lint fmt types arch lock bench clean debian-packages kubernetes-tools guest-kernel

# The trace is $BULKHEAD_DATA where that is set, else one drawn with its statistics. The sandbox is skipped without QEMU.
run: $(STAMP)              ## the main job: pack a production trace three ways, compare; start one sandbox
	@[ -n "$$BULKHEAD_DATA" ] || $(BIN)/python -m benchmarks.instances --out out/trace > /dev/null
	@$(BIN)/bulkhead compare --data "$${BULKHEAD_DATA:-out/trace}" --report out/report.html
	@$(BIN)/python -m sandbox_runtime.command.first out/sandbox

test: $(STAMP) debian-packages  ## install what tests need, run all of them
	$(BIN)/pytest -n 2 --dist loadgroup

check: lint types arch test

setup: $(STAMP)

# Debian splits venv from python3; as root it is installed, else the user is told.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } \
	  || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# What the real-component tests drive. Without root the tests that miss a package skip and say so.
debian-packages:
	@sh tests/install-debian-packages.sh

# A real API server and its controllers, built once into a cache; minutes the first time. Without Go or a module
# proxy the tests that need them skip and say so.
kubernetes-tools:
	@sh tests/kubernetes/build.sh || echo "kubernetes-tools: skipped; the tests that need an API server will skip"

# A guest kernel of our own, built once into the tests' cache; some ten minutes the first time. Its tests skip without it.
guest-kernel: $(STAMP)
	@sh tests/install-debian-packages.sh tests/kernel-packages.txt
	$(BIN)/bulkhead guest build-kernel --cache-root "$${BULKHEAD_TEST_CACHE:-$$HOME/.cache/bulkhead-tests}/own-kernel"

# What sandboxes and the live scheduler must survive, at length: an hour and more.
faults: $(STAMP) debian-packages
	BULKHEAD_SANDBOX_FAULTS=1 BULKHEAD_FAULT_CELLS=all $(BIN)/pytest tests/real/sandbox_faults
	BULKHEAD_CHAOS_ROUNDS=20 $(BIN)/pytest tests/chaos

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fmt: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

arch: $(STAMP)
	$(BIN)/lint-imports

lock:                      ## re-resolve pyproject.toml into requirements.lock (hashes, no addresses)
	$(BIN)/uv export --quiet --no-header --no-annotate --no-emit-project --all-groups --format requirements-txt -o requirements.lock
	@rm -f uv.lock

bench: $(STAMP)            ## every figure the project stands on; BULKHEAD_DATA holds traces and instances
	@: "$${BULKHEAD_DATA:?set BULKHEAD_DATA to the directory of traces and instances, see benchmarks/README.md}"
	$(BIN)/python -m benchmarks.placement
	$(BIN)/python -m benchmarks.packing --instances $$BULKHEAD_DATA/vbp/instances.tar.gz \
	  --known $$BULKHEAD_DATA/vbp/new_known.csv $$BULKHEAD_DATA/vbp/triplet_known.csv
	$(BIN)/python -m benchmarks.tenant_files

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
