# shellcheck shell=sh
# To be sourced: puts the pinned tools of scripts/setup.sh before everything
# else on PATH, and settles what the go command may depend on.
#
#   . scripts/env.sh

# Outside the checkout, so that a fresh clone does not build the tools again.
LAMINA_TOOLS="${LAMINA_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/lamina/tools}"
export LAMINA_TOOLS

# mkfs, ip, runc and their like live in sbin, which a plain user's PATH lacks.
for lamina_dir in /sbin /usr/sbin /usr/local/sbin; do
  case ":$PATH:" in
    *":$lamina_dir:"*) ;;
    *) PATH="$PATH:$lamina_dir" ;;
  esac
done
unset lamina_dir
case "$PATH" in
  "$LAMINA_TOOLS/bin:"*) ;;
  *) PATH="$LAMINA_TOOLS/bin:$PATH" ;;
esac
export PATH

# The version comes from the Makefile: a checkout owned by someone else (a
# container's bind mount, CI) must not fail on what git says about it.
case " ${GOFLAGS:-} " in
  *" -buildvcs="*) ;;
  *) GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false" ;;
esac
export GOFLAGS
