SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
UV_VERSION := 0.13.8
UV := .uv/bin/uv
BIN := .venv/bin
DISTS := operator/api operator/controller operator/local services/knowledge services/models \
	services/embedder services/runtime services/gateway services/evaluation services/registry \
	services/monitor pipelines
EDITABLE := $(foreach d,$(DISTS),-e ./$(d))

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

$(UV):
	@$(PYTHON) -m venv .uv && .uv/bin/python -m pip install -q uv==$(UV_VERSION)

# The platform alone: what `make demo` needs.  No test tools, no torch.
.venv/platform.stamp: $(UV) operator/local/requirements.txt $(foreach d,$(DISTS),$(d)/pyproject.toml)
	@test -x $(BIN)/python || $(UV) venv -q --python $(PYTHON) .venv
	@$(UV) pip install -q --python $(BIN)/python --require-hashes -r operator/local/requirements.txt
	@$(UV) pip install -q --python $(BIN)/python --no-deps $(EDITABLE)
	@touch $@

.venv/dev.stamp: .venv/platform.stamp tests/requirements.txt pipelines/requirements-train.txt \
		tests/training_packages.py
	@$(UV) pip install -q --python $(BIN)/python --require-hashes -r tests/requirements.txt
	@$(BIN)/python tests/training_packages.py $(UV) pipelines/requirements-train.txt
	@touch $@

OWN := nexus-api nexus-operator nexus-local nexus-knowledge nexus-models nexus-embedder \
	nexus-runtime nexus-gateway nexus-evaluation nexus-registry nexus-monitor nexus-pipelines
COMPILE := $(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links $(foreach p,$(OWN),--no-emit-package $(p))

.PHONY: lock
lock: $(UV) ## Resolve anew and pin every distribution by hash
	@$(COMPILE) --upgrade tests/requirements.in $(foreach d,$(DISTS),$(d)/pyproject.toml) -o tests/requirements.txt
	@for d in $(DISTS); do $(COMPILE) -c tests/requirements.txt $$d/pyproject.toml -o $$d/requirements.txt || exit 1; done
	@$(COMPILE) -c tests/requirements.txt --extra train pipelines/pyproject.toml -o pipelines/requirements-train.txt
	@echo hatchling==1.27.0 | $(COMPILE) -c tests/requirements.txt - -o requirements-build.txt
	@$(COMPILE) -c tests/requirements.txt tests/cluster/images/milvus-lite/requirements.in -o tests/cluster/images/milvus-lite/requirements.txt
	@$(COMPILE) tests/cluster/images/mlflow/requirements.in -o tests/cluster/images/mlflow/requirements.txt
	@cp tests/requirements.txt pipelines/requirements-judge.txt # its versions, where ragas takes them
	@$(COMPILE) pipelines/requirements-judge.in -o pipelines/requirements-judge.txt

.PHONY: install
install: .venv/dev.stamp ## Install the platform and the test tools into .venv

.PHONY: demo
demo: .venv/platform.stamp ## The main job: declare, ingest, ask; ends by itself
	@$(BIN)/nexus demo --once

.PHONY: up
up: .venv/platform.stamp ## The platform in the foreground
	@$(BIN)/nexus up

.PHONY: training
training: .venv/platform.stamp ## What fine-tuning needs beside the platform: torch and its libraries
	@$(BIN)/python tests/training_packages.py $(UV) pipelines/requirements-train.txt

.PHONY: judge
judge: .venv/platform.stamp pipelines/requirements-judge.txt ## What a judge needs beside the platform: ragas, in an environment of its own
	@$(UV) venv -q --clear --python $(BIN)/python .venv/judge
	@$(UV) pip install -q --python .venv/judge/bin/python --require-hashes -r pipelines/requirements-judge.txt

.PHONY: test
test: .venv/dev.stamp ## Every test tier this machine can run, two at a time
	@$(BIN)/pytest -q -n 2 --durations=15

CLUSTER := $(BIN)/python tests/cluster/cluster.py

.PHONY: cluster-build
cluster-build: .venv/dev.stamp ## Build the parts of the test cluster (Go; cached by content)
	@$(CLUSTER) build

.PHONY: cluster-up
cluster-up: .venv/dev.stamp ## Start a real Kubernetes with Argo, NATS and MinIO (root)
	@$(CLUSTER) up

.PHONY: cluster-down
cluster-down: .venv/dev.stamp ## Stop it; nothing is left
	@$(CLUSTER) down

.PHONY: cluster-status
cluster-status: .venv/dev.stamp ## What of the test cluster runs
	@$(CLUSTER) status

.PHONY: images
images: .venv/dev.stamp ## Build every image and its SBOM with buildah (root)
	@$(BIN)/python tests/cluster/images/build.py

.PHONY: engines
engines: .venv/dev.stamp ## Install the real Triton and vLLM for their tests (2.4 GB)
	@$(BIN)/python tests/contract/engines/engine_venvs.py triton vllm

.PHONY: soak
soak: .venv/dev.stamp ## Longer fault sweeps than CI has time for
	@$(BIN)/pytest -q tests/soak --timeout 7200

.PHONY: lint
lint: .venv/dev.stamp ## Style, types and import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: .venv/dev.stamp ## Rewrite the code in the one style
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

.PHONY: generate
generate: .venv/platform.stamp ## Write definitions, schemas and reference pages from their sources
	@$(BIN)/nexus-api generate --docs docs/reference/resources.md manifests/crds
	@$(BIN)/python charts/values_schema.py

.PHONY: check-generated
check-generated: .venv/platform.stamp ## Fail when a generated file is stale
	@$(BIN)/nexus-api generate --check --docs docs/reference/resources.md manifests/crds
	@$(BIN)/python charts/values_schema.py --check

.PHONY: bench
bench: .venv/dev.stamp ## Figures, each beside its peer
	@$(BIN)/python tests/bench/chunking.py
	@$(BIN)/python tests/bench/embedder.py
	@$(BIN)/python tests/bench/runtime.py
	@$(BIN)/python tests/bench/retrieval.py
	@$(BIN)/python tests/bench/support.py
	@$(BIN)/python tests/bench/gate_level.py 5000
	@$(BIN)/python tests/bench/whole_platform.py
	@$(BIN)/python tests/bench/gateway.py
	@$(BIN)/python tests/bench/operator_burst.py

.PHONY: bench-train
bench-train: .venv/dev.stamp ## Training beside TRL, and what SmolLM2 gains by it
	@$(BIN)/python tests/bench/train.py
	@$(BIN)/python tests/bench/train_gain.py

.PHONY: bench-cluster
bench-cluster: .venv/dev.stamp ## Uploads on a real cluster, one by one and in a burst (root)
	@$(BIN)/python tests/bench/on_cluster.py
