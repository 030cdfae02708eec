#!/usr/bin/env bash
# Checks that need no test to run. Goes through all of them, so that one run
# shows everything there is to mend, and fails if any of them did.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/env.sh

failed=()

# check NAME COMMAND…: fails when the command does, and shows what it printed.
check() {
  local name=$1 out
  shift
  if out=$("$@" 2>&1); then
    echo "ok    $name${out:+: $out}"
  else
    echo "FAIL  $name"
    printf '%s\n' "$out" | sed 's/^/      /'
    failed+=("$name")
  fi
}

# Files of a kind that git tracks, or would: not what a build left behind.
files() { git ls-files --cached --others --exclude-standard --deduplicate -- "$@" | while read -r f; do [ ! -f "$f" ] || echo "$f"; done; }

# silent COMMAND…: a command that lists what is wrong, and exits 0.
silent() {
  local out
  out=$("$@") || return
  [ -z "$out" ] || { echo "$out"; return 1; }
}

formatted() { silent xargs -r -d '\n' gofmt -l < <(files '*.go'); }

tidy() {
  go mod tidy -diff >/dev/null || { echo "run go mod tidy, and commit go.mod and go.sum"; return 1; }
}

# The commit whose API a client may hold: the last release, or else what main
# was before.
published() {
  git describe --tags --match 'v*' --abbrev=0 2>/dev/null && return
  local base head
  head=$(git rev-parse HEAD) || return
  base=$(git merge-base HEAD origin/main 2>/dev/null) || base=$head
  # A clone of main: HEAD is origin/main.
  [ "$base" != "$head" ] || base=$(git rev-parse --verify --quiet 'HEAD~1') || return
  echo "$base"
}

proto_breaking() {
  local against
  against=$(published) || { echo "no earlier commit to compare with"; return 0; }
  git cat-file -e "$against:buf.yaml" 2>/dev/null ||
    { echo "no proto in $against"; return 0; }
  buf breaking --against ".git#ref=$(git rev-parse "$against^{commit}")"
}

# Into a folder of its own: the check must not touch the checkout.
proto_generated() {
  local tmp file code=0
  tmp=$(mktemp -d)
  buf generate -o "$tmp" || { rm -rf "$tmp"; return 1; }
  while read -r file; do
    cmp -s "$file" "$tmp/$file" || { echo "$file is not what make proto makes of proto/"; code=1; }
  done < <({ files '*.pb.go'; (cd "$tmp" && find . -name '*.pb.go' -printf '%P\n'); } | sort -u)
  rm -rf "$tmp"
  return $code
}

api_page() {
  buf build -o - | go run ./scripts/apidoc | cmp -s - docs/api.md ||
    { echo "docs/api.md is not what make proto makes of proto/"; return 1; }
}

# A path of the machine that something was written on is of no use on another.
no_machine_paths() {
  local parent entry patterns=()
  patterns+=(-e "$(quote "$HOME")/(\.cache|go)/")
  parent=$(dirname "$PWD")
  case "$parent" in
    / | /tmp | /var/tmp | /home | /root | "$HOME") patterns+=(-e "$(quote "$PWD")(/|\$)") ;;
    *)
      for entry in "$parent"/* "$parent"/.[!.]*; do
        [ ! -e "$entry" ] || patterns+=(-e "(^|[^A-Za-z0-9_.})-])$(quote "$entry")([^A-Za-z0-9_-]|\$)")
      done
      ;;
  esac
  ! git grep -nIE --untracked --exclude-standard "${patterns[@]}"
}
# shellcheck disable=SC2016 # nothing to expand in a sed program
quote() { printf '%s' "$1" | sed 's/[][\.*^$+?(){}|]/\\&/g'; }

check gofmt formatted
check 'go mod tidy' tidy
check 'go vet' go vet ./...
check staticcheck staticcheck ./...
if [ -f buf.yaml ]; then
  check 'buf lint' buf lint
  check 'buf breaking' proto_breaking
fi
if [ -f buf.gen.yaml ]; then
  check 'generated code' proto_generated
  check 'API reference' api_page
fi
check shellcheck xargs -r -d '\n' shellcheck -x -f gcc -S warning < <(files '*.sh' .ci/run)
check 'machine paths' no_machine_paths

if [ ${#failed[@]} -gt 0 ]; then
  printf -v list '%s, ' "${failed[@]}"
  echo "lint: mend ${list%, }" >&2
  exit 1
fi
