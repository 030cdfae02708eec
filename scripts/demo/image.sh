# shellcheck shell=bash disable=SC2154 # the files set variables for each other
# The image: a Debian base, kept for the next demo, and on it the application of
# scripts/demo/app. Sourced by demo.sh.

suite=bookworm
cache=${LAMINA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lamina}/demo
# The number changes with what make_base does.
base=$cache/base-$suite-$(dpkg --print-architecture)-2.tar.zst

# What installing and running the application does not need, as in the slim
# images that people use: documentation, headers, and half of all files, which
# are tools for building JavaScript that npm's package depends on.
left_out=(
  usr/include usr/share/{doc,info,locale,man,zoneinfo/right}
  usr/share/nodejs/{@babel,@types,@webassemblyjs,caniuse-lite,core-js,core-js-pure,es-abstract}
  usr/share/nodejs/{eslint,lodash-es,regenerate-unicode-properties,terser,web-streams-polyfill,webpack}
)

# make_base: Debian with node and npm, as a tar. From where this machine gets
# its own packages if it knows the suite, and the way it gets them.
make_base() {
  local mirror
  export LAMINA_DEMO=$demo
  mkdir -p "$cache"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Codename: $suite" | sort -u | head -n 1)
  apt-config dump Acquire::http Acquire::https >"$demo/tmp/apt.conf"
  mmdebstrap --variant=minbase --include=ca-certificates,nodejs,npm \
    --aptopt="$demo/tmp/apt.conf" --customize-hook="cd \"\$1\" && rm -rf ${left_out[*]}" \
    "$suite" - ${mirror:+"$mirror"} | zstd -q -3 -T0 -f -o "$base.part" &&
    rm -f "$cache"/base-*.zst && mv "$base.part" "$base"
}

# npm_settings: which registry npm uses on this machine, and how it is reached.
# For the time of the build only: none of it comes into the image.
npm_settings() {
  local key value file
  mkdir -p "$demo/npm"
  for key in registry proxy https-proxy noproxy strict-ssl; do
    value=$(cd / && npm config get "$key" 2>/dev/null)
    case "$value" in '' | null | undefined) ;; *) echo "$key=$value" ;; esac
  done >"$demo/npm/npmrc"
  printf '%s=false\n' audit fund update-notifier >>"$demo/npm/npmrc"
  for file in "$(cd / && npm config get cafile 2>/dev/null)" "${NODE_EXTRA_CA_CERTS:-}" "${SSL_CERT_FILE:-}"; do
    [ -f "$file" ] || continue
    cp "$file" "$demo/npm/ca.crt"
    echo cafile=/run/lamina-npm/ca.crt >>"$demo/npm/npmrc"
    break
  done
}

in_buildah() {
  BUILDAH_ISOLATION=chroot buildah --root "$demo/buildah/root" --runroot "$demo/buildah/run" \
    --storage-driver "$(storage_driver)" "$@"
}

# Overlay does not go on top of overlay, as in a container without a volume.
storage_driver() {
  if [ "$(stat -f -c %T "$demo")" = overlayfs ]; then echo vfs; else echo overlay; fi
}

# build: the image demo/node-app:1 as an OCI layout in $demo/hosts/laptop/node-app. A
# function whose failure somebody looks at does not stop by itself: hence &&.
build() {
  export LAMINA_DEMO=$demo
  npm_settings &&
    in_buildah bud --layers -t base -f - "$cache" <<<"FROM scratch"$'\n'"ADD ${base##*/} /" &&
    in_buildah bud --layers -t node-app \
      --volume "$demo/npm:/run/lamina-npm:ro" --volume "$demo/npm/npmrc:/root/.npmrc:ro" scripts/demo/app &&
    in_buildah push node-app "oci:$demo/hosts/laptop/node-app:1"
}
