#!/usr/bin/env bash
# Lamina's main job on a real image: pushed once, run on two hosts from one
# store, and what a container wrote carried to the other host.
#
#   make demo              the store is a folder
#   make demo BUCKET=s3    the store is a bucket on MinIO, with two servers over it
#
# The hosts are network namespaces of this machine, each with a containerd and
# a snapshotter of its own. Every claim is looked at before it is made: the demo
# fails where one does not hold. It leaves nothing behind but the Debian base,
# which the next one starts from: ${LAMINA_CACHE:-~/.cache/lamina}/demo.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/demo/words.sh

case "${BUCKET:=file}" in
  file | s3) ;;
  *) die "BUCKET=$BUCKET: there is file, which is the default, and s3" ;;
esac
[ "$(id -u)" = 0 ] ||
  die 'containers, mounts and network namespaces are made for real, which needs root: sudo make demo'

. scripts/demo/leftovers.sh
. scripts/demo/image.sh
. scripts/demo/hosts.sh
. scripts/demo/services.sh
. scripts/demo/facts.sh
. scripts/demo/story.sh

missing() {
  local tool
  for tool in buildah containerd containerd-shim-runc-v2 ctr curl findmnt flock fold ip jq lsns minio \
    mmdebstrap node npm nsenter runc skopeo unshare zstd; do
    command -v "$tool" >/dev/null || echo "$tool"
  done
}
if [ -n "$(missing)" ]; then
  scripts/setup.sh
  [ -z "$(missing)" ] || die "still missing after scripts/setup.sh: $(missing | tr '\n' ' ')"
fi
[ -x bin/lamina ] || make --no-print-directory build
PATH=$PWD/bin:$PATH

# finish CODE: what the demo made goes away, however it ended.
finish() {
  local code=$1
  trap '' INT TERM HUP PIPE
  trap - ERR
  set +e
  [ -n "${demo:-}" ] || exit "$code"
  case "$code" in
    0) ;;
    129 | 130 | 141 | 143) printf '\nInterrupted: clearing away.\n' 2>/dev/null ;;
    *)
      for log in "$demo"/log/*.{server,minio,snapshotter,containerd}.log; do [ ! -s "$log" ] || failed_log "$log"; done
      printf '\n%sdemo: %s%s\n' "$red" "$reason" "$plain" >&2
      ;;
  esac
  sweep || [ "$code" != 0 ] || code=1
  [ "$code" != 0 ] || printf '\nNothing of it is left on this machine. It took %d seconds.\n' "$SECONDS"
  exit "$code"
}
demo='' reason=''
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
trap 'exit 141' PIPE
trap 'reason="line $LINENO of ${BASH_SOURCE[0]##*/} failed: $BASH_COMMAND"' ERR
trap 'finish $?' EXIT

claim
story
