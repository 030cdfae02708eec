#!/usr/bin/env bash
# Installs what Lamina is built and tested with, each thing at a pinned version.
#
#   scripts/setup.sh          all that `make test`, `make lint` and `make demo` need
#   scripts/setup.sh build    only what `make build` and `make proto` need
#   scripts/setup.sh bench    the above and the peers that `make bench` compares with
#
# Safe to run again: what is there at its pinned version is left alone, and then
# nothing is fetched. System packages come from apt (Debian, Ubuntu); where there
# is no apt, the script names the commands that are missing. Tools written in Go
# are built from source into $LAMINA_TOOLS/bin (default ~/.cache/lamina/tools).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

# The oldest Go that builds Lamina, and every tool below.
go_least=1.26

# package:command, where the command proves that the package is there.
apt_build=(
  ca-certificates:update-ca-certificates
  git:git
  make:make
)
apt_test=(
  acl:getfacl
  attr:getfattr
  buildah:buildah
  busybox-static:busybox
  curl:curl
  docker.io:dockerd
  e2fsprogs:mkfs.ext4
  erofs-utils:fsck.erofs
  fuse3:fusermount3
  gcc:gcc            # go test -race is cgo
  libc6-dev:/usr/include/stdlib.h
  iproute2:ip
  jq:jq
  kmod:modprobe
  mmdebstrap:mmdebstrap
  podman:podman
  procps:ps
  runc:runc
  shellcheck:shellcheck
  skopeo:skopeo
  util-linux:nsenter
  xfsprogs:mkfs.xfs
  zstd:zstd
)

# version, then packages of one module. Quick ones first.
go_build=(
  'v1.75.0  github.com/bufbuild/buf/cmd/buf'
  'v1.36.12 google.golang.org/protobuf/cmd/protoc-gen-go'
  'v1.6.2   google.golang.org/grpc/cmd/protoc-gen-go-grpc'
)
go_test=(
  'v0.8.2   honnef.co/go/tools/cmd/staticcheck'
  'v0.22.1  github.com/google/go-containerregistry/cmd/crane'
  'v1.3.6   oras.land/oras/cmd/oras'
  'v0.11.7  github.com/regclient/regclient/cmd/regctl'
  'v2.4.2   github.com/containerd/containerd/v2/cmd/containerd github.com/containerd/containerd/v2/cmd/ctr github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2'
  'v1.8.0   github.com/versity/versitygw/cmd/versitygw'
  'v0.0.0-20260212201848-7aac2a2c5b7c github.com/minio/minio'
)
go_bench=(
  'v3.1.2   github.com/distribution/distribution/v3/cmd/registry'
)

die() { echo "setup: $*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# quietly COMMAND…: its output is of interest only when it fails.
quietly() {
  local log code=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || code=$?
  [ $code = 0 ] || cat "$log" >&2
  rm -f "$log"
  return $code
}

there() {
  case "$1" in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Asked from inside the module: an older Go that may fetch newer ones answers
# with the version that go.mod names, and that one counts.
check_go() {
  command -v go >/dev/null || die "no go command: install Go $go_least or newer and put it on PATH"
  local have
  have=$(go env GOVERSION) || die "go env failed: is this Go older than $go_least, with GOTOOLCHAIN=local?"
  have=${have#go}
  [ "$(printf '%s\n' "$go_least" "$have" | sort -V | head -n 1)" = "$go_least" ] ||
    die "Go $have is too old: install Go $go_least or newer"
  echo "have go $have"
}

# without_services ENTRY… -- COMMAND…: runs the command that installs the entries,
# twice if need be, and sees to it that none of it runs as a service, now or after
# the next boot: docker.io and the containerd that it brings would. Tests start
# what they need.
without_services() {
  local policy=/usr/sbin/policy-rc.d units=() ours='' code=0
  while [ "$1" != -- ]; do
    [ "${1%%:*}" != docker.io ] || units=(docker.service docker.socket)
    shift
  done
  shift
  if [ ${#units[@]} -gt 0 ]; then
    there /usr/bin/containerd || units+=(containerd.service)
    if ! there $policy; then
      ours=1
      printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
      as_root chmod 755 $policy
    fi
  fi
  quietly "$@" || quietly "$@" || code=$?
  [ -z "$ours" ] || as_root rm -f $policy
  if [ ${#units[@]} -gt 0 ] && there systemctl; then
    as_root systemctl disable --quiet "${units[@]}" >/dev/null 2>&1 || true
  fi
  return $code
}

apt_install() {
  local entry missing=()
  for entry; do
    if there "${entry#*:}"; then echo "have ${entry%%:*}"; else missing+=("$entry"); fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "no apt-get here: install by hand what brings: ${missing[*]#*:}"
  local packages=("${missing[@]%%:*}")
  printf 'install %s\n' "${packages[@]}"
  # Two tries each: mirrors fail now and then.
  quietly as_root apt-get update -qq || quietly as_root apt-get update -qq
  local try=(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
    -o DPkg::Lock::Timeout=300 "${packages[@]}")
  without_services "${missing[@]}" -- "${try[@]}"
  for entry in "${missing[@]}"; do
    there "${entry#*:}" || die "package ${entry%%:*} is installed, but ${entry#*:} is not there"
  done
}

# go_install VERSION PACKAGE…: the binaries' stamps are written when all are there.
go_install() {
  local version=$1 package name missing=() built=()
  shift
  for package; do
    name=${package##*/}
    if [ -x "$bin/$name" ] && [ -e "$bin/.stamps/$name@$version" ]; then
      echo "have $name $version"
    else
      echo "install $name $version"
      missing+=("$package@$version")
      built+=("$name")
    fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  # From outside the module and without its flags: `go install pkg@version`
  # takes nothing from a go.mod, and must not take a -mod or -tags either.
  quietly env -C / GOBIN="$bin" CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOWORK=off \
    go install -trimpath -ldflags='-s -w' "${missing[@]}" ||
    die "go install ${missing[*]} failed"
  for name in "${built[@]}"; do
    rm -f "$bin/.stamps/$name@"*
    : >"$bin/.stamps/$name@$version"
  done
}

mode=${1:-test}
case "$mode" in
  build) apt=("${apt_build[@]}") tools=("${go_build[@]}") ;;
  test) apt=("${apt_build[@]}" "${apt_test[@]}") tools=("${go_build[@]}" "${go_test[@]}") ;;
  bench) apt=("${apt_build[@]}" "${apt_test[@]}") tools=("${go_build[@]}" "${go_test[@]}" "${go_bench[@]}") ;;
  *) die "unknown mode $mode: build, bench, or nothing" ;;
esac

# The demo's application is a node app; a node that is there is good enough.
if [ "$mode" != build ]; then
  apt+=(nodejs:node npm:npm)
fi

check_go
bin=$LAMINA_TOOLS/bin
mkdir -p "$bin/.stamps"
# Two checkouts on one machine share the folder: one sets up at a time.
if command -v flock >/dev/null; then
  exec 9>"$LAMINA_TOOLS/.lock"
  flock 9
fi
apt_install "${apt[@]}"
for tool in "${tools[@]}"; do
  # shellcheck disable=SC2086 # a list of words on purpose
  go_install $tool
done
