# shellcheck shell=bash disable=SC2154 # the files set variables for each other
# Machines within this machine: each has a network and a host name of its own
# (namespaces), linked by one switch that leads nowhere else. Sourced by demo.sh.

# at HOST: sets $at to the words that, put before a command, run it there, in the
# folder that is all the host has.
at() {
  local host=$demo/hosts/$1
  at=(
    nsenter "--net=$host/net" "--uts=$host/uts" env -C "$host" "LAMINA_DEMO=$demo" "HOME=$host"
    "CONTAINERD_ADDRESS=$host/containerd.sock" "CONTAINERD_NAMESPACE=$namespace"
    CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1
    # Not what /etc has for this machine's own Lamina.
    LAMINA_CONFIG=/dev/null "LAMINA_SOCKET=$host/snapshotter.sock"
    ${server[$1]:+"LAMINA_SERVER=${server[$1]}:7070"}
  )
}

# spaces_of HOST: a network and a host name for it.
spaces_of() {
  local host=$demo/hosts/$1
  mkdir -p "$host"
  touch "$host/net" "$host/uts"
  unshare "--net=$host/net" "--uts=$host/uts" hostname "$1"
}

make_switch() {
  spaces_of switch
  at switch
  "${at[@]}" ip link add switch type bridge
  "${at[@]}" ip link set switch up
}

# make_host NAME ADDRESS
make_host() {
  spaces_of "$1"
  at "$1"
  "${at[@]}" ip link set lo up
  "${at[@]}" ip link add eth0 type veth peer name "$1" netns "$demo/hosts/switch/net"
  "${at[@]}" ip address add "$2/24" dev eth0
  "${at[@]}" ip link set eth0 up
  at switch
  "${at[@]}" ip link set "$1" master switch up
}

# received HOST: bytes that have come over its network so far.
received() {
  at "$1"
  "${at[@]}" ip -j -s link show dev eth0 | jq '.[0].stats64.rx.bytes'
}

# start HOST SERVICE COMMAND…: in the background, until clear_away.
start() {
  local host=$1 service=$2
  shift 2
  at "$host"
  setsid "${at[@]}" "$@" </dev/null >"$demo/log/$host.$service.log" 2>&1 &
  echo $! >"$demo/hosts/$host/$service.pid"
  disown
}

# ready HOST SERVICE COMMAND…: waits until the command succeeds.
ready() {
  local host=$1 service=$2 end=$((SECONDS + 60))
  shift 2
  at "$host"
  until "${at[@]}" "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ] || ! kill -0 "$(cat "$demo/hosts/$host/$service.pid")"; then
      failed_log "$demo/log/$host.$service.log"
      die "$service on $host did not start"
    fi
    sleep 0.1
  done
}
