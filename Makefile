# EMS. "make help" lists the targets. Needed: Go, git, make and bash; everything else is built from Go modules.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
# The nearest release tag; a tree without one is a development build. The commit is recorded by the Go toolchain itself.
VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || echo v0.0.0-dev)
LDFLAGS := -s -w -X mitigation.dev/ems/internal/version.Version=$(VERSION)
GO_BUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
# Test binaries that hang are killed with a dump of all goroutines after this time.
TEST_TIMEOUT ?= 20m
FUZZTIME ?= 10s
IMAGE ?= ems

# Tools are built once per version of Go (a linter built with an older Go cannot read newer packages) and of the tools module.
# Their versions stand in hack/tools/go.mod and nowhere else.
TOOLS := bin/tools
TOOLS_STAMP := $(TOOLS)/.built-$(shell $(GO) env GOVERSION)
CONTROLLER_GEN := $(TOOLS)/controller-gen
CRD_REF_DOCS := $(TOOLS)/crd-ref-docs
GOLANGCI_LINT := $(TOOLS)/golangci-lint-kube-api-linter
GOVULNCHECK := $(TOOLS)/govulncheck

# Tools with modules of their own, because they do not agree with the others on versions. Built only where they are used.
HELM := $(TOOLS)/helm
KUBE_SCORE := $(TOOLS)/kube-score
PROMTOOL := $(TOOLS)/promtool
DASHBOARDCHECK := $(TOOLS)/dashboardcheck
HEALTHJUDGE := $(TOOLS)/healthjudge

##@ General

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN { FS = ":.*##" } \
		/^[a-zA-Z0-9_-]+:.*##/ { printf "  \033[36m%-15s\033[0m %s\n", $$1, $$2 } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(MAKEFILE_LIST)

.PHONY: all
all: build lint test ## Build, lint and test.

##@ Build

.PHONY: build
build: ## Build every command for this machine: bin/manager, bin/ems-agent, ...
	$(GO_BUILD) -o bin/ ./cmd/...

.PHONY: build-windows
build-windows: ## Build the agent for Windows servers: bin/windows/ems-agent.exe.
	@mkdir -p bin/windows
	GOOS=windows GOARCH=amd64 $(GO_BUILD) -o bin/windows/ems-agent.exe ./cmd/ems-agent

.PHONY: docker-build
docker-build: ## Build the container images ems-manager and ems-agent (needs Docker with BuildKit). IMAGE, VERSION.
	docker build --build-arg COMMAND=manager --build-arg VERSION=$(VERSION) -t $(IMAGE)-manager:$(VERSION) .
	docker build --build-arg COMMAND=ems-agent --build-arg VERSION=$(VERSION) -t $(IMAGE)-agent:$(VERSION) .

.PHONY: release
release: $(TOOLS_STAMP) ## Make everything that a release consists of in dist/ (minutes). VERSION, IMAGE; RELEASEFLAGS="-only plugin -platforms linux/amd64".
	$(GO) run ./hack/release -version $(VERSION) -image $(IMAGE)-manager $(RELEASEFLAGS)

.PHONY: image-archive
image-archive: ## Make images of the manager in dist/ without a container engine. VERSION, IMAGE.
	$(GO) run ./hack/release -version $(VERSION) -image $(IMAGE)-manager -only image

.PHONY: clean
clean: ## Remove what was built, but neither tools nor control plane (they are slow to build and do not depend on the sources).
	find bin -mindepth 1 -maxdepth 1 ! -name k8s ! -name tools -exec rm -rf {} + 2>/dev/null || true
	rm -rf dist

.PHONY: clean-all
clean-all: clean ## Remove the tools and bin/k8s as well. The cache of control planes outside the checkout stays.
	rm -rf bin

##@ Development

.PHONY: generate
generate: $(TOOLS_STAMP) ## Generate deep copies, apply configurations, CRDs, RBAC and the API reference.
	$(CONTROLLER_GEN) object applyconfiguration paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(if $(wildcard controllers),$(CONTROLLER_GEN) rbac:roleName=ems-manager paths=./controllers/... output:rbac:dir=config/rbac)
	hack/prometheusrule.sh
	hack/health.sh
	$(GO) run ./hack/chart
	@mkdir -p docs/reference
	$(CRD_REF_DOCS) --config=hack/tools/crd-ref-docs.yaml --source-path=api/v1alpha1 --renderer=markdown \
		--output-path=docs/reference/v1alpha1.md --log-level=ERROR

.PHONY: fmt
fmt: $(TOOLS_STAMP) ## Format the Go sources and their imports.
	$(GOLANGCI_LINT) fmt

.PHONY: tools
tools: $(TOOLS_STAMP) ## Build the development tools into bin/tools (minutes the first time).

$(TOOLS_STAMP): hack/tools/go.mod hack/tools/go.sum
	@echo "Building the tools of hack/tools into $(TOOLS): a few minutes once."
	@mkdir -p $(TOOLS) && rm -f $(TOOLS)/.built-*
	cd hack/tools && $(GO) build -trimpath -ldflags '-s -w' -o ../../$(TOOLS)/ tool
	@touch $@

# Helm takes the version of Kubernetes that "helm template" speaks for from the linker.
$(HELM): hack/tools/helm/go.mod hack/tools/helm/go.sum
	@echo "Building Helm: a few minutes once."
	@mkdir -p $(TOOLS)
	cd hack/tools/helm && minor=$$($(GO) list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2) && chart=helm.sh/helm/v3/pkg && \
		$(GO) build -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$$($(GO) list -m -f '{{.Version}}' helm.sh/helm/v3) \
		-X $$chart/lint/rules.k8sVersionMajor=1 -X $$chart/lint/rules.k8sVersionMinor=$$minor \
		-X $$chart/chartutil.k8sVersionMajor=1 -X $$chart/chartutil.k8sVersionMinor=$$minor" -o ../../../$@ helm.sh/helm/v3/cmd/helm
	@touch $@

$(KUBE_SCORE): hack/tools/kubescore/go.mod hack/tools/kubescore/go.sum
	@mkdir -p $(TOOLS)
	cd hack/tools/kubescore && $(GO) build -trimpath -ldflags '-s -w' -o ../../../$@ github.com/zegl/kube-score/cmd/kube-score
	@touch $@

# Without the ways to find targets in clouds, which rules and metrics do not need and which are most of what it would link.
$(PROMTOOL): hack/tools/promtool/go.mod hack/tools/promtool/go.sum
	@echo "Building promtool: a few minutes once."
	@mkdir -p $(TOOLS)
	cd hack/tools/promtool && $(GO) build -trimpath -tags remove_all_sd -ldflags '-s -w' -o ../../../$@ github.com/prometheus/prometheus/cmd/promtool
	@touch $@

$(DASHBOARDCHECK): hack/tools/dashboardcheck/go.mod hack/tools/dashboardcheck/go.sum hack/tools/dashboardcheck/main.go
	@mkdir -p $(TOOLS)
	cd hack/tools/dashboardcheck && $(GO) build -trimpath -ldflags '-s -w' -o ../../../$@ .
	@touch $@

$(HEALTHJUDGE): hack/tools/healthjudge/go.mod hack/tools/healthjudge/go.sum $(wildcard hack/tools/healthjudge/*.go)
	@mkdir -p $(TOOLS)
	cd hack/tools/healthjudge && $(GO) build -trimpath -ldflags '-s -w' -o ../../../$@ .
	@touch $@

.PHONY: controlplane
controlplane: ## Make sure that a kube-apiserver, etcd and kubectl are there (about ten minutes the first time).
	hack/controlplane/ensure.sh

.PHONY: demo
demo: build controlplane ## Run the whole system on this machine. ONCE=1 ends by itself, FEED_DOCUMENT=FILE serves a document of yours.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/ensure.sh) ONCE='$(ONCE)' FEED_DOCUMENT='$(FEED_DOCUMENT)' $(GO) run ./hack/demo

.PHONY: playground
playground: build controlplane ## Leave a control plane, the manager and three servers running, for docs/quickstart.md, until Ctrl-C.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/ensure.sh) $(GO) run ./hack/demo -playground

.PHONY: screenshots
screenshots: controlplane ## Take the pictures of the documents (docs/images) of a fleet that runs here. Needs Chromium and Prometheus.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/ensure.sh) $(GO) run ./hack/screenshots

##@ Checks

.PHONY: lint
lint: $(TOOLS_STAMP) ## Run all linters: the code for Linux and Windows, the API conventions, and the linters' own configuration.
	hack/lint.sh

.PHONY: fix
fix: $(TOOLS_STAMP) ## Apply the corrections that the linters know how to make.
	$(GOLANGCI_LINT) run --fix

.PHONY: verify
verify: $(TOOLS_STAMP) ## Regenerate everything, run the read-only checks, and fail on any change: needs a clean working tree.
	hack/verify.sh

.PHONY: test
test: ## Run every test, with a real control plane: units, envtest, end to end.
	@assets=$$(hack/controlplane/ensure.sh); mkdir -p bin; \
	KUBEBUILDER_ASSETS=$$assets $(GO) test -json -timeout $(TEST_TIMEOUT) $(TESTFLAGS) ./... | \
		$(GO) run ./hack/testsum -summary bin/test-summary.txt

.PHONY: test-unit
test-unit: ## Run the tests that need no control plane (go test -short): seconds.
	@$(GO) test -short -json -timeout $(TEST_TIMEOUT) $(TESTFLAGS) ./... | $(GO) run ./hack/testsum

.PHONY: race
race: ## Run tests under the race detector (needs a C compiler; about twenty minutes). PACKAGES picks some.
	@assets=$$(hack/controlplane/ensure.sh); \
	CGO_ENABLED=1 KUBEBUILDER_ASSETS=$$assets $(GO) test -race -json -timeout $(TEST_TIMEOUT) $(TESTFLAGS) \
		$(or $(PACKAGES),./agent/... ./controllers/... ./internal/... ./cmd/...) | $(GO) run ./hack/testsum

.PHONY: quickstart
quickstart: ## Follow docs/quickstart.md as a script, in a copy of this checkout, and tell how long each step takes.
	EMS_TEST_QUICKSTART=1 $(GO) test -count=1 -v -timeout 60m -run TestQuickStartFromAClone ./test/docs

.PHONY: test-windows
test-windows: ## Run the agent's tests, and four servers with its service, as Windows programs under Wine (Linux; the first time a minute more).
	@mkdir -p bin; status=0; wine=$$(hack/wine/ensure.sh) || status=$$?; \
	if [ $$status -eq 3 ]; then \
		echo "SKIPPED: nothing was run as a Windows program, see above" | tee bin/test-windows-summary.txt; exit 0; \
	elif [ $$status -ne 0 ]; then exit $$status; fi; \
	assets=$$(hack/controlplane/ensure.sh); \
	{ hack/wine/test.sh -short $(or $(PACKAGES),./agent/... ./cmd/ems-agent) || true; \
		$(if $(PACKAGES),,EMS_TEST_WINE_ROOT=$$wine KUBEBUILDER_ASSETS=$$assets $(GO) test -json -count=1 -timeout 10m ./test/windows;) \
	} | $(GO) run ./hack/testsum -summary bin/test-windows-summary.txt

.PHONY: chart
chart: $(HELM) $(KUBE_SCORE) ## Lint the Helm chart and all manifests, and follow a release on a real API server: install, upgrade, uninstall.
	hack/chart/lint.sh
	@assets=$$(hack/controlplane/ensure.sh); \
	EMS_HELM=$(CURDIR)/$(HELM) KUBEBUILDER_ASSETS=$$assets $(GO) test -count=1 -timeout $(TEST_TIMEOUT) ./test/chart

.PHONY: promcheck
promcheck: $(PROMTOOL) $(DASHBOARDCHECK) ## Check metrics, alerts with their test cases, and the dashboard, with promtool and Grafana's schema.
	EMS_PROMTOOL=required $(GO) test -count=1 -run 'Promtool|Alert|PrometheusRule|Dashboard|Panels' ./test/monitoring ./controllers/measure ./agent/metricsfile

.PHONY: health
health: $(HEALTHJUDGE) ## Ask kstatus, Argo CD's scripts and Flux's expressions about every state of every kind.
	EMS_HEALTHJUDGE=required $(GO) test -count=1 ./test/ecosystem

.PHONY: bench
bench: ## Run the benchmarks of all packages that have any. BENCH=REGEXP, BENCHTIME=1s.
	$(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime $(or $(BENCHTIME),1s) -benchmem \
		$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u)

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (default 10s) each. FUZZ=REGEXP picks some.
	FUZZTIME=$(FUZZTIME) FUZZ='$(FUZZ)' hack/fuzz.sh

.PHONY: mutation
mutation: ## Take each step out of the signature verification in turn and show that a test fails (minutes). MUTATION=REGEXP.
	$(GO) run ./hack/mutation -run '$(MUTATION)'

.PHONY: scale
scale: build controlplane ## Measure with N (default 1000) simulated servers (about thirteen minutes). SCENARIOS=seen,publish,..., POOLS, PROFILE.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/ensure.sh) $(GO) run ./test/scale -n $(or $(N),1000) -programs bin \
		$(if $(POOLS),-pools $(POOLS)) $(if $(PROFILE),-profile '$(PROFILE)') $(if $(SCENARIOS),-scenarios '$(SCENARIOS)')

.PHONY: compare
compare: build controlplane ## Put the same rule on N (default 200) servers by Ansible of Debian and by EMS, and compare (about fifteen minutes).
	@status=0; playbook=$$(hack/ansible/ensure.sh) || status=$$?; \
	if [ $$status -eq 3 ]; then echo "SKIPPED: nothing was compared, see above"; exit 0; elif [ $$status -ne 0 ]; then exit $$status; fi; \
	EMS_ANSIBLE_PLAYBOOK=$$playbook KUBEBUILDER_ASSETS=$$(hack/controlplane/ensure.sh) \
		$(GO) run ./test/scale -n $(or $(N),200) -programs bin -scenarios ansible -out bin/compare

.PHONY: vuln
vuln: $(TOOLS_STAMP) ## Look for known vulnerabilities in what the programs call (asks vuln.go.dev, or the database that GOVULNDB names).
	$(GOVULNCHECK) $(if $(GOVULNDB),-db $(GOVULNDB)) ./...
