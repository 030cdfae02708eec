#!/usr/bin/env bash
# Measures Lamina beside other registries on this machine, and prints the tables
# that bench/README.md keeps. Takes some minutes; run it while nothing else runs.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh bench
# shellcheck source=scripts/env.sh
. scripts/env.sh
make --no-print-directory build
exec go run ./bench/registries -lamina bin/lamina "$@"
