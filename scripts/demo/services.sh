# shellcheck shell=bash disable=SC2154 # the files set variables for each other
# What runs on the demo's hosts: Lamina's servers, the bucket's MinIO, and on
# each host for containers a snapshotter and a containerd. Sourced by demo.sh.

# start_server HOST ADDRESS BUCKET: registry and gRPC on the host's address.
start_server() {
  prompt "$1" lamina serve --bucket "$3" --http "$2:5000" --grpc "$2:7070" --access open
  start "$1" server env "${credentials[@]}" lamina serve --bucket "$3" --http "$2:5000" --grpc "$2:7070" --access open
  ready "$1" server curl -fsS "http://$2:5000/v2/"
}

# start_minio HOST ADDRESS: with an empty bucket called layers, and credentials
# that nobody else has.
credentials=()
start_minio() {
  local key=lamina-demo secret
  secret=$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')
  credentials=("AWS_ACCESS_KEY_ID=$key" "AWS_SECRET_ACCESS_KEY=$secret")
  start "$1" minio env "MINIO_ROOT_USER=$key" "MINIO_ROOT_PASSWORD=$secret" \
    minio server --quiet --address "$2:9000" "$demo/hosts/$1/data"
  ready "$1" minio curl -fsS "http://$2:9000/minio/health/ready"
  at "$1"
  quietly minio "${at[@]}" curl -fsS -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user "$key:$secret" "http://$2:9000/layers"
}

# start_node HOST: the snapshotter, and a containerd that uses it, told so by
# the file in deploy/.
start_node() {
  local host=$demo/hosts/$1
  sed -e "s|/run/lamina/snapshotter.sock|$host/snapshotter.sock|" \
    -e "s|/var/lib/lamina-snapshotter|$host/snapshotter|" \
    -e "s|linux/amd64|linux/$(dpkg --print-architecture)|" \
    deploy/containerd-config.toml >"$host/lamina.toml"
  cat >"$host/containerd.toml" <<EOF
version = 4
root = '$host/root'
state = '$host/state'
imports = ['$host/lamina.toml']
debug.level = 'warn'
# Kubernetes is not part of this demo.
disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.nri.v1.nri']
[plugins.'io.containerd.server.v1.grpc']
  address = '$host/containerd.sock'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '$host/containerd.sock.ttrpc'
EOF
  local command=(
    lamina snapshotter --server "${server[$1]}:7070" --containerd containerd.sock
    --root snapshotter --socket snapshotter.sock
  )
  prompt "$1" "${command[@]}"
  start "$1" snapshotter "${command[@]}"
  ready "$1" snapshotter test -S "$host/snapshotter.sock"
  start "$1" containerd containerd --config "$host/containerd.toml"
  ready "$1" containerd ctr version
}
