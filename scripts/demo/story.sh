# shellcheck shell=bash disable=SC2154 # the files set variables for each other
# The demo itself, in the order in which it is told. Sourced by demo.sh.

# The hosts by what they call themselves.
declare -A address=(
  [server-1]=10.77.0.1 [server-2]=10.77.0.2 [minio]=10.77.0.9
  [host-a]=10.77.0.11 [host-b]=10.77.0.12 [laptop]=10.77.0.20
)
# The server that a host talks to.
declare -A server=([laptop]=${address[server-1]} [host-a]=${address[server-1]} [host-b]=${address[server-1]})
[ "${BUCKET:-file}" = file ] || server[host-b]=${address[server-2]}
# The host of container web-N, by N.
# shellcheck disable=SC2034 # used by facts.sh
on=('' host-a host-a host-b host-b host-b host-a)

story() {
  the_image
  the_hosts
  the_push
  the_containers
  the_writes
  the_commit
  the_other_host
  the_deletion
  the_store
  the_removal
}

the_image() {
  if [ -e "$base" ]; then
    tell 'A base image, Debian with node, is here from an earlier demo.'
  else
    tell 'A base image is made first: Debian with node, from its packages. This takes a minute or two; it is kept for the next demo.'
    quietly base make_base || die 'the base was not made: can this machine install Debian packages?'
  fi
  tell 'buildah builds a small node application on it, from this Dockerfile:'
  sed 's/^/    | /' scripts/demo/app/Dockerfile
  quietly image build || die "the image was not built: is npm's registry reached from here (npm config, proxies)?"
  local manifest
  manifest=$(jq -r '.manifests[0].digest' "$demo/hosts/laptop/node-app/index.json")
  size=$(jq '[.layers[].size] | add' "$demo/hosts/laptop/node-app/blobs/${manifest/://}")
  proved "it has $(jq '.layers | length' "$demo/hosts/laptop/node-app/blobs/${manifest/://}") layers, $(readable "$size") compressed"
}

the_hosts() {
  local host url
  if [ "$BUCKET" = file ]; then
    tell 'One server, whose store is a folder on its disk. No database, nothing else to set up.'
    make_switch
    make_host server-1 "${address[server-1]}"
    bucket=$demo/hosts/server-1/store
    start_server server-1 "${address[server-1]}" "file://$bucket"
  else
    tell 'MinIO has the bucket, and two servers work over it, knowing nothing of each other: all their state is in the bucket.'
    make_switch
    for host in minio server-1 server-2; do make_host "$host" "${address[$host]}"; done
    start_minio minio "${address[minio]}"
    bucket=$demo/hosts/minio/data
    url="s3://layers?endpoint=http://${address[minio]}:9000&region=us-east-1"
    start_server server-1 "${address[server-1]}" "$url"
    start_server server-2 "${address[server-2]}" "$url"
  fi
  tell 'Two hosts for containers and a laptop, each with a network of its own. On a host, Lamina is the snapshotter of an ordinary containerd.'
  make_host laptop "${address[laptop]}"
  for host in host-a host-b; do
    make_host "$host" "${address[$host]}"
    start_node "$host"
  done
}

the_push() {
  local before after
  tell 'The image is pushed. Blobs that the store has are not sent: the second time, none is.'
  show laptop lamina push oci:node-app:1 "${server[laptop]}:5000/demo/node-app:1"
  before=$(sent laptop)
  show laptop lamina push oci:node-app:1 "${server[laptop]}:5000/demo/node-app:1"
  after=$(sent laptop)
  prove "the second push sent $(readable $((after - before))) of $(readable "$size")" [ $((after - before)) -lt 100000 ]
  tell 'Each layer is there with the instruction that made it; CMD changed no file, and made none.'
  show laptop lamina history "${server[laptop]}:5000/demo/node-app:1"
  layers=$(layers_of demo/node-app 1)
}

the_containers() {
  local host image before after first second sees has
  for host in host-a host-b; do
    image=${server[$host]}:5000/demo/node-app:1
    first=1 second=2
    [ "$host" = host-a ] || first=3 second=4
    tell "Two containers of the image on $host. The first needs the layers, so they are fetched; the second finds them."
    before=$(received $host)
    last=1 show $host ctr images pull --plain-http --snapshotter lamina "$image"
    run_web $first "$image"
    after=$(received $host)
    prove "for the first, $host fetched $(wc -l <<<"$layers") layers, each once: $(readable $((after - before))) came over its network" \
      fetched_once $host "$layers"
    before=$after
    run_web $second "$image"
    after=$(received $host)
    prove "for the second, $host fetched none: $(readable $((after - before))) came over its network" \
      fetched_once $host "$layers"
    [ $((after - before)) -lt $((size / 100)) ] || die "$host received $((after - before)) bytes for its second container"
    sees=$(disk_use "$demo/hosts/$host/state/io.containerd.runtime.v2.task/$namespace/web-$second/rootfs")
    has=$(disk_use "$demo/hosts/$host/snapshotter")
    prove "each of them sees $(readable "$sees") of files; the disk of $host has these once: $(readable "$has")" \
      [ $((has * 10)) -lt $((sees * 11)) ]
  done
}

# The application of all containers keeps a note in the same file, /app/note.txt.
the_writes() {
  local n
  tell 'Each of the four writes to the same file, /app/note.txt, and each reads its own words there: what a container writes goes to a thin layer of its own, over the layers that all share.'
  for n in 1 2 3 4; do
    show laptop curl -s -d "written in web-$n" "$(note $n)"
  done
  for n in 1 2 3 4; do
    show laptop curl -s "$(note $n)"
    prove "web-$n sees what was written in web-$n" says "written in web-$n"
  done
  tell 'A host knows what it runs, on which image, and how much each container has written. It tells the server: at once what runs, every half minute how much is written.'
  show host-a lamina containers --local
  at host-a
  prove 'web-1 and web-2 have written little; the layers of the image do not count' \
    jq -e 'length == 2 and all(.writtenInodes > 1 and .writtenBytes < 100000)' <("${at[@]}" lamina containers --local -o json)
  eventually 'four containers are on the list' lists web-1 web-2 web-3 web-4
  show laptop lamina containers
}

the_commit() {
  tell 'What web-1 wrote becomes a layer on the layers of its image, and is pushed: an ordinary image. The container runs on meanwhile.'
  show host-a lamina diff web-1
  prove 'the diff names the file that was written' grep -q /app/note.txt "$demo/out"
  show host-a lamina commit web-1 "${server[host-a]}:5000/demo/web-1:saved"
  show host-a curl -s "$(note 1)"
  prove 'web-1 runs on' says 'written in web-1'
  show laptop lamina history "${server[laptop]}:5000/demo/web-1:saved"
}

the_other_host() {
  local image before bytes saved
  image=${server[host-b]}:5000/demo/web-1:saved
  tell 'host-b carries on from it. It has all layers but the new one, and fetches only that.'
  before=$(received host-b)
  last=1 show host-b ctr images pull --plain-http --snapshotter lamina "$image"
  run_web 5 "$image"
  bytes=$(($(received host-b) - before))
  show laptop curl -s "$(note 5)"
  prove 'on host-b is what web-1 wrote on host-a' says 'written in web-1'
  saved=$(layers_of demo/web-1 saved)
  prove 'the layers are those of the image, and one more' [ "$(sed '$d' <<<"$saved")" = "$layers" ]
  prove "host-b fetched only that one: $(readable "$bytes") came over its network" fetched_once host-b "$saved"
  [ "$bytes" -lt $((size / 100)) ] || die "host-b received $bytes bytes for it"
}

the_deletion() {
  tell 'web-1 is deleted. Its writable layer goes with it; the image under it and the image that was made of it stay.'
  has_note host-a 1 || die 'what web-1 wrote is nowhere on the disk of host-a'
  show host-a ctr tasks delete --force web-1
  show host-a ctr containers delete web-1
  eventually 'web-1 is off the list' lists web-2 web-3 web-4 web-5
  show laptop lamina containers
  proved 'web-1 is off the list'
  at host-a
  eventually 'what web-1 wrote is off the disk of host-a' not has_note host-a 1
  proved 'what it wrote is off the disk of host-a'
  show laptop lamina images
  prove 'the image is in the store' grep -q '^demo/node-app ' "$demo/out"
  prove 'and so is the one that was made of web-1' grep -q '^demo/web-1 ' "$demo/out"
  run_web 6 "${server[host-a]}:5000/demo/node-app:1"
  prove 'host-a still has the layers: a new container fetched none' fetched_once host-a "$layers"
  show laptop curl -s "$(note 6)"
  prove 'and it starts from the image, without what web-1 wrote' says 'no note yet'
  show laptop curl -s "$(note 5)"
  prove 'what web-1 wrote lives on in web-5' says 'written in web-1'
}

the_store() {
  local stored
  tell 'What is stored, and what is shared: every layer is there once, whoever names it.'
  show laptop lamina usage
  stored=$(du -sb "$bucket" | cut -f 1)
  prove "two images of $(readable "$size"), and the folder that the bucket is kept in has $(readable "$stored")" \
    [ "$stored" -lt $((size + size / 20)) ]
}

the_removal() {
  local image
  tell 'The image that was made of web-1 is removed. Storage that nothing names goes by itself, some days after it was last used. This one stays: host-b runs web-5 on it.'
  at laptop
  image=demo/web-1@$("${at[@]}" lamina images -o json demo/web-1 | jq -r '.[0].digest')
  show laptop lamina rm "${server[laptop]}:5000/$image"
  show laptop lamina gc --dry-run
  at laptop
  prove 'no blob is in the store that nothing names or runs on' \
    jq -e '.marked == .listed and .error == null' <("${at[@]}" lamina gc --dry-run -o json)
  show laptop curl -s "$(note 5)"
  prove 'web-5 runs on' says 'written in web-1'
  tell 'Every byte in the store is read back and checked, while everything runs.'
  show laptop lamina verify
  at laptop
  prove 'nothing is bad' jq -e '.bad == 0 and .ended != null' <("${at[@]}" lamina verify --last -o json)
}
