#!/usr/bin/env bash
# Runs the tests and says in the end how many passed, failed and were skipped,
# and which and why.
#
#   scripts/test.sh [packages and flags of go test]     default: ./...
#
# Many tests want root and real components. Without them such a test skips, and
# the list below names it; with LAMINA_CI=1 or CI=true it fails instead, so that
# a green CI has run everything.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

[ $# -gt 0 ] || set -- ./...
mkdir -p bin
go build -o bin/testreport ./scripts/testreport

# Some packages run whole clusters of real servers: two packages at a time are
# as much as two cores bear without timing out for no fault of the code.
CGO_ENABLED=1 go test -race -p 2 -timeout 20m -json "$@" | bin/testreport
