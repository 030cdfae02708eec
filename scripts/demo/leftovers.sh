# shellcheck shell=bash disable=SC2154 # the files set variables for each other
# How everything that the demo makes on this machine goes away again: at its
# end, when it is interrupted, and when an earlier one was killed. All of it is
# found by the demo's folder, $demo: files and mounts are below it; processes
# have LAMINA_DEMO=$demo in their environment, or are in a network namespace
# that is mounted there. Sourced by demo.sh.

# Which demo runs, or ran: its process, when that began, its folder.
state=/run/lamina-demo
# The containerd namespace of all the demo's containers.
namespace=lamina-demo

# began PID: when the process began, in clock ticks; fails when there is none.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20 | grep .; }

# claim: makes $demo and remembers it, once what an earlier demo left is gone.
# One demo at a time: the containers have the same names, and so the same
# cgroups, in each.
claim() {
  local pid start folder parent=${TMPDIR:-/var/tmp}
  # Mount options and the length of a socket's path set the bounds.
  [[ $parent =~ ^/[A-Za-z0-9/._-]{1,48}$ && -d $parent ]] ||
    die "TMPDIR is $parent: it must be a folder with a short name of letters, digits, '/', '.', '_' and '-'"
  exec 9<"${state%/*}"
  flock 9
  if [ -s "$state" ]; then
    read -r pid start folder <"$state"
    [ "$(began "$pid")" != "$start" ] ||
      die "another demo runs, as process $pid: wait for its end, or interrupt it"
    echo 'An earlier demo was killed: clearing away what it left.'
    demo=$folder sweep || die "clear that away by hand, then remove $state"
  fi
  demo=$(mktemp -d "$parent/lamina-demo.XXXXXX")
  echo "$$ $(began $$) $demo" >"$state"
  exec 9>&-
  [ "$(df --output=avail -k "$demo" | tail -n 1)" -ge 2000000 ] ||
    die "$parent has less than 2 GB left: make room, or set TMPDIR to a folder on another disk"
  mkdir -p "$demo"/{hosts/laptop,log,tmp}
  [ -e /run/containerd ] || : >"$demo/no-run-containerd"
  export TMPDIR=$demo/tmp
}

# net_spaces: the network namespaces that are mounted below $demo, as dev:inode.
net_spaces() {
  local files
  mapfile -t files < <(findmnt -rno TARGET -t nsfs | grep -E "^$demo/hosts/[^/]+/net$")
  [ ${#files[@]} = 0 ] || stat -c '%d:%i' "${files[@]}"
}

# ours: the processes of this demo. The script itself and its small helpers are
# not among them: LAMINA_DEMO is set only for services and for what takes long.
ours() {
  {
    grep -lzxF "LAMINA_DEMO=$demo" /proc/[0-9]*/environ | cut -d / -f 3
    stat -L -c '%d:%i %n' /proc/[0-9]*/ns/net |
      awk -v spaces="${spaces-$(net_spaces)}" 'BEGIN { n = split(spaces, s, "\n"); for (i = 1; i <= n; i++) is[s[i]] }
        $1 in is { split($2, path, "/"); print path[3] }'
  } 2>/dev/null | sort -un
}

mounts() { findmnt -rno TARGET | grep -E "^$demo(/|$)" | sort -r; }

# alive PIDFILE: prints the process if it is still there, and ours.
alive() { [ -s "$1" ] && ours | grep -xF "$(cat "$1")"; }

# until_gone SECONDS PID…: waits for processes to end.
until_gone() {
  local end=$((SECONDS + $1)) pid
  shift
  for pid; do
    while grep -qs '^State:.[^ZX]' "/proc/$pid/status"; do
      [ "$SECONDS" -lt "$end" ] || return
      sleep 0.1
    done
  done
}

# stop PIDFILE: asks one of the demo's services to end, and waits for that.
stop() {
  local pid
  pid=$(alive "$1") || return 0
  kill -TERM "$pid"
  until_gone 15 "$pid"
}

# delete_containers HOST: through containerd, so that runc and the shims tidy up
# after themselves.
delete_containers() {
  local id
  alive "$demo/hosts/$1/containerd.pid" >/dev/null || return 0
  at "$1"
  for id in $(timeout 10 "${at[@]}" ctr containers list -q); do
    timeout 10 "${at[@]}" ctr tasks kill -s SIGKILL "$id"
    timeout 10 "${at[@]}" ctr tasks delete -f "$id"
    timeout 10 "${at[@]}" ctr containers delete "$id"
  done
}

# sweep: clears away, and fails if anything is left. Nothing in it stops at what
# fails: there may be more, or less, than it looks for.
sweep() (
  set +eE +o pipefail
  clear_away
  nothing_left
)

# clear_away: as much as there is of a demo, in the order in which it depends
# on each other.
clear_away() {
  local host path address pids
  [ -d "$demo" ] || return 0
  {
    spaces=$(net_spaces)
    if [ -n "${under_way:-}" ]; then
      kill -TERM "$under_way"
      until_gone 5 "$under_way"
    fi
    for host in "$demo"/hosts/*; do
      delete_containers "${host##*/}"
      stop "$host/containerd.pid"
      stop "$host/snapshotter.pid"
    done
    for path in "$demo"/hosts/*/{server,minio}.pid; do stop "$path"; done
    # What did not go by itself: tools that were interrupted, and whatever still
    # ran when an earlier demo was killed.
    for _ in 1 2 3 4 5; do
      mapfile -t pids < <(ours)
      [ ${#pids[@]} -gt 0 ] || break
      kill -KILL "${pids[@]}"
      until_gone 5 "${pids[@]}"
    done
    # A mount may lie on another, at the same place.
    while read -r path; do umount "$path" || umount -l "$path"; done < <(mounts)
    # A shim that was killed leaves its socket, a container its cgroups.
    for path in "$demo"/hosts/*/state/io.containerd.runtime.v2.task/*/*/bootstrap.json; do
      address=$(jq -r .address "$path") && rm -f "${address#unix://}"
    done
    rm -rf "/run/containerd/runc/$namespace"
    for path in /sys/fs/cgroup/"$namespace" /sys/fs/cgroup/*/"$namespace"; do
      # The kernel may take a moment to see that a cgroup's processes are gone.
      for _ in {1..50}; do
        rmdir "$path"/*
        rmdir "$path"
        [ -d "$path" ] || break
        sleep 0.1
      done
    done
    [ ! -e "$demo/no-run-containerd" ] || find /run/containerd -depth -type d -empty -delete
    rm -f "$cache"/*.part
    rm -rf --one-file-system "$demo"
  } >/dev/null 2>&1
}

# nothing_left: says what clear_away has not managed, and fails if there is any.
nothing_left() {
  local left=0 found
  found=$(ours | xargs -r ps -o pid=,args= -p)
  [ -z "$found" ] || { echo "demo: processes are left: $found" >&2; left=1; }
  found=$(mounts | tr '\n' ' ')
  [ -z "$found" ] || { echo "demo: mounts are left: $found" >&2; left=1; }
  found=$(lsns -t net -no NS | grep -xF "$(cut -d : -f 2 <<<"${spaces:-}")" | tr '\n' ' ')
  [ -z "$found" ] || { echo "demo: network namespaces are left: $found" >&2; left=1; }
  found=$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$namespace" 2>/dev/null)
  [ -z "$found" ] || { echo "demo: cgroups are left: $found" >&2; left=1; }
  [ ! -e "$demo" ] || { echo "demo: $demo is left" >&2; left=1; }
  [ $left = 0 ] && rm -f "$state"
}
