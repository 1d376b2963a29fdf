# The tasks of this project; `make` alone prints them. What they need is Go,
# and for the race detector a C compiler; all else is fetched by Go itself, but for
# what end-to-end tests and measurements take out of Debian's packages.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s
BENCHN   ?= 1,50,2000
BENCHLEASES ?= 100,1000,10000

# The log library can compress with zstd. We never ask it to, and its tables cost
# a tenth of a one-shot's time at every start.
TAGS := timberjack_nozstd

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
MODULES     := . e2e e2e/formats bench samples/lambda/go

# The race detector is built with C. Where there is no compiler, say so and test
# without it rather than not at all.
CC_FOUND := $(shell command -v $(firstword $(shell go env CC)) 2>/dev/null)
ifneq ($(CC_FOUND),)
RACE := -race
export CGO_ENABLED = 1
endif

.PHONY: help test unit cross e2e vault bench-builds lint fuzz bench build docs clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: unit formats bench-builds e2e ## everything: unit tests, fuzz seeds, laws, samples, the real server

unit: cross ## unit tests with the race detector, fuzz seeds, laws and samples; no network
ifndef RACE
	@echo '*** NO RACE DETECTOR: it needs a C compiler, and none was found. ***' >&2
endif
	go vet ./...
	go test $(RACE) -timeout 15m ./...
	@# A simulated day is more than the race detector survives; see the test.
	go test -run '^TestADayOfADaemon$$' -timeout 5m ./daemonmode

cross: ## vet and build for Windows and macOS, tests included: what is built there alone is looked at here
	GOOS=windows CGO_ENABLED=0 go vet ./...
	GOOS=darwin CGO_ENABLED=0 go vet ./...
	GOOS=windows CGO_ENABLED=0 go build -tags $(TAGS) -o /dev/null ./cmd/latchkey
	GOOS=darwin CGO_ENABLED=0 go build -tags $(TAGS) -o /dev/null ./cmd/latchkey

.PHONY: formats
formats: ## hold what is written for Prometheus, OpenTelemetry and CycloneDX against their parsers
	cd e2e/formats && go vet ./... && go test ./...

bench-builds:
	cd bench && go vet ./... && go test -timeout 5m ./...

e2e: ## the same cases and more against a real Vault; LATCHKEY_VAULT_BIN names one, else it is built once
	cd e2e && go vet ./... && go run ./getvault && go test -count=1 -timeout 30m ./...

.PHONY: load
load: ## the proxy under wrk for a minute, with a restart of Vault in the middle; Debian
	cd e2e && go run ./getvault && go test -count=1 -timeout 10m -v -run '^TestTheProxyUnderLoad' . -load 1m

vault: ## build the Vault server of the end-to-end tests, once, and print its path
	@cd e2e && go run ./getvault

lint: ## gofmt, go vet and staticcheck
	@fmt=$$(gofmt -l $$(find . -name '*.go')); if [ -n "$$fmt" ]; then echo "not gofmt'ed:"; echo "$$fmt"; exit 1; fi
	@set -e; for m in $(MODULES); do echo "lint $$m"; (cd $$m && go vet ./... && go run $(STATICCHECK) ./...); done

fuzz: ## each fuzzer for FUZZTIME (30s)
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' internal cmd extension layer | while read -r f; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$f); do \
			echo "$$name in $$f"; go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$f); \
		done; done

bench: build ## latchkey, vault agent and a bare program side by side, for BENCHN secrets (1,50,2000)
	cd bench && go run . -latchkey ../bin/latchkey -n $(BENCHN)

.PHONY: bench-daemon
bench-daemon: build ## latchkey daemon beside vault agent: memory, CPU, renewals, changes, requests; Linux, 20 minutes
	cd bench && go run . -daemon -latchkey ../bin/latchkey -leases $(BENCHLEASES)

.PHONY: bench-proxy
bench-proxy: build ## latchkey's proxy beside vault agent, nginx and a bare handler, under wrk; Debian, ten minutes
	cd bench && go run . -proxy -latchkey ../bin/latchkey

.PHONY: bench-extension
bench-extension: layer ## the Lambda extension beside a bare one and, where LATCHKEY_VLE names it, vault-lambda-extension; Debian, root, ten minutes
	cd bench && go run . -extension

build: ## a static, stripped, reproducible bin/latchkey
	CGO_ENABLED=0 go build -tags $(TAGS) -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/latchkey ./cmd/latchkey

.PHONY: layer sbom
layer: ## the zips of the Lambda extension in dist/, one per architecture, each with its bill of materials
	go run ./layer/mklayer -version $(VERSION) -tags $(TAGS) -unpacked -out dist

sbom: build ## the bill of materials of bin/latchkey (CycloneDX); make layer writes those of the zips
	go run ./layer/mklayer -version $(VERSION) -tags $(TAGS) -bill bin/latchkey

docs: ## write docs/configuration.md, docs/lambda-environment.md and the lists of linked packages anew
	go test ./internal/config -run TestReference -update
	go test ./internal/lambdaenv -run TestReference -update
	go test ./internal/floors -run Linked -update

clean: ## remove what was built
	rm -rf bin dist cover.out
