#!/usr/bin/env bash
# Runs every fuzz target for $FUZZTIME (default 60s), and then the tests with
# LAMINA_SOAK=1 and the build tag soak, which unlock what takes too long for
# every day. Found by themselves: a new Fuzz function needs no line here.
#
#   scripts/soak.sh [packages]     default: ./...
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

[ $# -gt 0 ] || set -- ./...
fuzztime=${FUZZTIME:-60s}
failed=()

while read -r package name; do
  echo "fuzz $package $name for $fuzztime"
  # What it finds is kept by go test in the package's testdata/fuzz: commit it.
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "$package" </dev/null ||
    failed+=("$package $name")
done < <(go test -list '^Fuzz' -json "$@" |
  jq -r 'select(.Action == "output" and (.Output | test("^Fuzz[^a-z]"))) | "\(.Package) \(.Output | rtrimstr("\n"))"')

LAMINA_SOAK=1 scripts/test.sh -tags soak -timeout 4h -count 1 "$@" || failed+=("tests")

if [ ${#failed[@]} -gt 0 ]; then
  printf 'soak: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
