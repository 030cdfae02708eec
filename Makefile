# What can be done here; `make` alone lists it. Every target may be run twice.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The pinned tools of scripts/setup.sh come first on PATH.
WITH_TOOLS := . ./scripts/env.sh &&
# make test PKG=./blobstore/...
PKG ?= ./...

.DEFAULT_GOAL := help
.PHONY: help setup build test demo bench lint proto soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the tools that the other targets use, at pinned versions
	@scripts/setup.sh

build: ## build bin/lamina, one static binary
	@mkdir -p bin
	@$(WITH_TOOLS) CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/lamina ./cmd/lamina
	@echo "bin/lamina $(VERSION)"

test: setup ## set up, then run every test with the race detector (PKG=./x/... for some)
	@scripts/test.sh $(PKG)

demo: setup build ## push an image, run it on two hosts, carry on elsewhere (BUCKET=s3: on MinIO)
	@$(WITH_TOOLS) BUCKET='$(BUCKET)' scripts/demo.sh

bench: build ## measure against peers, side by side; results go to bench/README.md by hand
	@scripts/setup.sh bench
	@$(WITH_TOOLS) bench/run.sh

lint: setup ## check format, vet, staticcheck, proto, generated code, scripts
	@scripts/lint.sh

proto: ## generate the Go code of proto/, and docs/api.md
	@scripts/setup.sh build
	@$(WITH_TOOLS) buf generate
	@$(WITH_TOOLS) buf build -o - | go run ./scripts/apidoc > docs/api.md

soak: setup ## fuzz every parser for a while (FUZZTIME=60s each) and run the long tests
	@scripts/soak.sh $(PKG)

clean: ## remove what was built here; the tools stay
	rm -rf bin
