# shellcheck shell=bash disable=SC2154 # the files set variables for each other
# What the demo's claims are measured by. Sourced by demo.sh.

# counter HOST rx|tx: bytes over the host's network so far.
counter() {
  at "$1"
  "${at[@]}" ip -j -s link show dev eth0 | jq ".[0].stats64.$2.bytes"
}
received() { counter "$1" rx; }
sent() { counter "$1" tx; }

# disk_use FOLDER: in bytes.
disk_use() { du -sx -B 1 "$1" | cut -f 1; }

# layers_of REPOSITORY TAG: their digests, the lowest first, as any client of the
# registry sees them.
layers_of() {
  at laptop
  "${at[@]}" curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://${server[laptop]}:5000/v2/$1/manifests/$2" | jq -r '.layers[].digest'
}

# fetched HOST DIGEST…: which of the blobs the servers have sent to the host, by
# their logs, sorted. One that was sent twice is there twice.
fetched() {
  local from=${address[$1]}
  shift
  awk -v from="$from:" '
    / route=blob-pull / && / method=GET / && / status=20[06] / && index($0, " remote=" from) {
      match($0, / subject=[^ ]+/)
      print substr($0, RSTART + 9, RLENGTH - 9)
    }' "$demo"/log/server-*.server.log | { grep -xF "$(printf '%s\n' "$@")" || :; } | sort
}

# fetched_once HOST LAYERS: each of them was, and once.
fetched_once() { [ "$(mapfile -t d <<<"$2" && fetched "$1" "${d[@]}")" = "$(sort <<<"$2")" ]; }

# says TEXT: the output of the last command.
says() { [ "$(cat "$demo/out")" = "$1" ]; }

# note N: where container web-N has its note.
note() { echo "http://${address[${on[$1]}]}:300$1/note"; }

# has_note HOST N: what was written in web-N is in a writable layer on the host.
has_note() {
  find "$demo/hosts/$1/snapshotter" -xdev -type f -name note.txt -exec grep -lxF "written in web-$2" {} + | grep -q .
}

# run_web N IMAGE: container web-N of the image, up and listening.
run_web() {
  show "${on[$1]}" ctr run -d --null-io --net-host --env "PORT=300$1" --snapshotter lamina "$2" "web-$1"
  at laptop
  eventually "web-$1 answers" "${at[@]}" curl -s "$(note "$1")"
}

# eventually SENTENCE COMMAND…: waits for something that comes by itself.
eventually() {
  local sentence=$1 end=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "this does not come true: $sentence"
    sleep 0.1
  done
}

# lists ID…: the servers know of these containers, and of no other.
lists() {
  at laptop
  [ "$("${at[@]}" lamina containers -q | sed 's|.*/||' | sort)" = "$(printf '%s\n' "$@" | sort)" ]
}
