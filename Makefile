# Every target does its own set-up: a fresh machine needs python3 (3.11 to 3.13) and make.
PYTHON ?= python3
VENV ?= .venv
TFLITE_VENV ?= .venv-tflite
PYTHON311 ?= python3.11
BIN := $(VENV)/bin
DEMO ?= demo
READY := $(VENV)/.ready
TFLITE_READY := $(TFLITE_VENV)/.ready

.PHONY: setup setup-tflite demo model test test-slow parity lint docs bench soak coverage fuzz pi pi-short boot armhf-wheels release lock clean

setup: $(READY)

# Not compiled: Python does that with what it imports, and with all that is installed pip takes half of its time for it.
$(READY): requirements.lock pyproject.toml edge_runtime/pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e edge_runtime -e .
	@touch $@

# tflite-runtime needs Python 3.11 and numpy below 2: an environment of its own. Where Python 3.11 is absent its tests are skipped, and say so.
setup-tflite:
	@if command -v $(PYTHON311) >/dev/null 2>&1; then $(MAKE) --no-print-directory $(TFLITE_READY); \
	else echo "SKIPPED: tflite-runtime needs $(PYTHON311), which is not on this machine (make PYTHON311=/path/to/python3.11)" >&2; fi

$(TFLITE_READY): requirements-tflite.lock edge_runtime/pyproject.toml
	$(PYTHON311) -m venv $(TFLITE_VENV)
	$(TFLITE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-tflite.lock
	@touch $@

# Every command is shown as a user would type it.
demo: setup
	@rm -rf $(DEMO)/cnn $(DEMO)/.cnn.unfinished $(DEMO)/mobilenetv2 $(DEMO)/.mobilenetv2.unfinished
	$(BIN)/edge-train --demo --model cnn --out $(DEMO)/cnn
	$(BIN)/edge-train --demo --model mobilenetv2 --out $(DEMO)/mobilenetv2
	$(BIN)/edge-export $(DEMO)/cnn --int8 --out $(DEMO)/cnn-bundle
	$(BIN)/edge-export $(DEMO)/mobilenetv2 --int8 --out $(DEMO)/mobilenetv2-bundle
	$(BIN)/edge-infer --model $(DEMO)/cnn-bundle $(DEMO)/cnn/data/test/*/phantom_20000[0-9].png
	$(BIN)/edge-infer --model $(DEMO)/mobilenetv2-bundle --engine onnxruntime --json $(DEMO)/cnn/data/test/fractured/phantom_200001.png
	@$(BIN)/python -m benchmarks.demo_summary $(DEMO)
	@echo "\nThe network that ships, on the same phantom:\n"
	$(BIN)/edge-infer $(DEMO)/cnn/data/test/fractured/phantom_200001.png

# The network that ships, made again from the data: make model EDGE_DATA=/folder/with/fracatlas.
# First with a quarter of the blocks held out, which gives the figures; then the same settings on every image.
MODEL ?= model
# In every answer: raised whenever another network ships.
MODEL_NAME ?= fracatlas-3
MODEL_NETWORK ?= efficientnetlite0
model: setup
	@test -d "$(EDGE_DATA)/fracatlas" || { echo "EDGE_DATA is the folder that holds fracatlas" >&2; exit 2; }
	@mkdir -p $(MODEL)
	$(BIN)/python -m tools.number_blocks $(EDGE_DATA)/fracatlas > $(MODEL)/blocks.csv
	$(BIN)/edge-train $(EDGE_DATA)/fracatlas --model $(MODEL_NETWORK) --groups $(MODEL)/blocks.csv --fractions 0.65 0.10 0.25 --out $(MODEL)/run
	$(BIN)/edge-export $(MODEL)/run --int8 --recipe mse --out $(MODEL)/run-bundle
	$(BIN)/edge-evaluate $(MODEL)/run-bundle --run $(MODEL)/run --by region,hardware --out $(MODEL)/evaluation
	$(BIN)/edge-train $(EDGE_DATA)/fracatlas --model $(MODEL_NETWORK) --refit $(MODEL)/run --out $(MODEL)/run-all
	$(BIN)/edge-export $(MODEL)/run-all --int8 --recipe mse --name $(MODEL_NAME) --out $(MODEL)/bundle
	$(BIN)/python -m tools.ship_model $(MODEL)/bundle --run $(MODEL)/run --evaluation $(MODEL)/evaluation

# Files of tests side by side: half of the tests wait for programs that they start.
WORKERS ?= 2
test: setup setup-tflite lint
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --dist loadfile

test-slow: setup setup-tflite
	$(BIN)/python -m pytest -m slow

# Both networks of the embedded data set, trained and exported by `make demo` where they are not there yet.
parity: setup setup-tflite
	@test -d $(DEMO)/cnn-bundle -a -d $(DEMO)/mobilenetv2-bundle || $(MAKE) --no-print-directory demo
	EDGE_PARITY=$(DEMO) $(BIN)/python -m pytest tests/parity

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python -m tools.command_docs --check || { echo "docs/commands.md: the option tables are out of date: run make docs" >&2; exit 1; }

# The option tables of docs/commands.md, from the commands themselves.
docs: setup
	$(BIN)/python -m tools.command_docs

# Both wheels, proven in an empty environment: dist/.
release: setup
	$(BIN)/python -m tools.release

# Packages of a bundle, installed and run on emulated processors of the Raspberry Pi: make pi BUNDLE="one another" IMAGES=100.
DEMO_BUNDLES := $(DEMO)/mobilenetv2-bundle $(DEMO)/cnn-bundle
BUNDLE ?= $(DEMO_BUNDLES)
pi: setup
	@test "$(BUNDLE)" != "$(DEMO_BUNDLES)" || { test -d $(DEMO)/mobilenetv2-bundle && test -d $(DEMO)/cnn-bundle; } || $(MAKE) --no-print-directory demo
	$(BIN)/python -m tools.pi.proof $(if $(IMAGES),--images $(IMAGES)) $(BUNDLE)

# The least of it: LiteRT, one processor, ten images of a tiny network.
pi-short: setup
	$(BIN)/python -m tools.pi.proof --short tests/edge_runtime/golden/tiny_bundle

# A package of the shipped network under a real systemd, in namespaces of its own: needs root, and fetches Debian once.
boot: setup
	$(BIN)/python -m tools.pi.boot_proof

# For packages with --target armv7l: Pillow has no wheel for 32-bit ARM and is compiled under emulation.
armhf-wheels: setup
	@$(BIN)/python -m tools.pi.armhf_wheels

bench: setup
	$(BIN)/python -m benchmarks.training

# Every writer struck at every operation; a watched folder that fills with 10,000 images; and damaged image files for a minute (FUZZ="--seconds 600 --seed 1").
SOAK ?= --model tests/edge_runtime/golden/tiny_bundle
soak: setup
	$(BIN)/python -m tests.faults.strikes
	$(BIN)/python -m benchmarks.soak $(SOAK)

# Branches of the device's code that its quick tests run, child processes included.
coverage: setup
	$(BIN)/python -m coverage run -m pytest -q -m "not slow" tests/edge_runtime
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --show-missing --precision=1

fuzz: setup
	$(BIN)/python -m tests.edge_runtime.fuzzing.images --count 10000 $(FUZZ)
	$(BIN)/python -m tests.edge_runtime.fuzzing.models --count 1000 $(FUZZ)

# Needs uv (pip install uv). Versions of everything, with hashes, for Python 3.11 to 3.13.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-emit-index-url --generate-hashes --no-emit-package fracture-edge-runtime --quiet -o requirements.lock
	uv pip compile --group tflite --python-version 3.11 --no-emit-index-url --generate-hashes --quiet -o requirements-tflite.lock
	$(BIN)/python -m tools.wheel_lock

clean:
	rm -rf $(VENV) $(TFLITE_VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
