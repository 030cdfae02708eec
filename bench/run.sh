#!/usr/bin/env bash
# Measures Lamina beside other registries on this machine, and prints the tables
# that bench/README.md keeps. Takes some minutes; run it while nothing else runs.
# With -collection it measures what collecting garbage costs in a large store
# instead: -collection [-blobs N] [-manifests N] [-dir FOLDER] [-stores files,S3].
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh bench
# shellcheck source=scripts/env.sh
. scripts/env.sh
if [ "${1-}" = -collection ]; then
  shift
  exec go run ./bench/collection "$@"
fi
make --no-print-directory build
exec go run ./bench/registries -lamina bin/lamina "$@"
