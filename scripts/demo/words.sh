# shellcheck shell=bash disable=SC2154 # the files set variables for each other
# How the demo speaks: what it is about to do and why, the commands that a user
# would type with their real output, and what that proves. Sourced by demo.sh.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi

step=0

# tell SENTENCE…: a step of the demo, before it is done.
tell() {
  step=$((step + 1))
  printf '\n%s' "$bold"
  printf '%2d. %s' "$step" "$*" | fold -s -w 100 | sed 's/ *$//; 2,$s/^/    /'
  printf '%s\n' "$plain"
}

# proved SENTENCE…: something was looked at, and it is so.
proved() { printf '    %s✓ %s%s\n' "$green" "$*" "$plain"; }

# prove SENTENCE COMMAND…: says so if the command succeeds, and fails if not.
prove() {
  local sentence=$1
  shift
  "$@" >/dev/null || die "this does not hold: $sentence"
  proved "$sentence"
}

not() { ! "$@" >/dev/null 2>&1; }

die() {
  reason=$*
  printf '\n%sdemo: %s%s\n' "$red" "$reason" "$plain" >&2
  exit 1
}

# typed WORD…: the words as one would type them to a shell.
typed() {
  local word out=''
  for word; do
    case "$word" in
      '' | *[!A-Za-z0-9_./:=@%+,-]*) word="'${word//\'/\'\\\'\'}'" ;;
    esac
    out+="${out:+ }$word"
  done
  printf '%s' "$out"
}

# What is under way in the foreground, for clean_up to stop.
under_way=''

# follow FILE COMMAND…: adds its output to the file. An interruption is heard at
# once: bash looks at a signal after a command in the foreground, but during wait.
follow() {
  local file=$1 code=0
  shift
  "$@" </dev/null >>"$file" 2>&1 &
  under_way=$!
  wait "$under_way" || code=$?
  under_way=''
  return "$code"
}

# quietly NAME COMMAND…: its output is of interest only when it fails.
quietly() {
  local log=$demo/log/$1.log code=0
  shift
  follow "$log" "$@" || code=$?
  [ "$code" = 0 ] && return
  failed_log "$log"
  return "$code"
}

failed_log() {
  printf '%s    the end of %s:%s\n' "$dim" "${1##*/}" "$plain" >&2
  tail -n 12 "$1" | cut -c -400 | sed 's/^/    | /' >&2
}

# prompt HOST COMMAND…: what a user on that host types.
prompt() {
  local host=$1
  shift
  printf '\n    %s%s$%s %s%s%s\n' "$dim" "$host" "$plain" "$bold" "$(typed "$@")" "$plain"
}

# show HOST COMMAND…: what a user on that host types, and what comes of it. The
# output is in $demo/out afterwards. Of what redraws itself all the time, only
# the last line is shown: last=1.
show() {
  local host=$1 code=0
  prompt "$@"
  shift
  at "$host"
  : >"$demo/out"
  follow "$demo/out" "${at[@]}" "$@" || code=$?
  [ "$code" != 0 ] || [ -z "${last:-}" ] || sed -i '$!d' "$demo/out"
  sed 's/^/    /' "$demo/out"
  [ "$code" = 0 ] || die "this command ended with $code"
}

# readable BYTES: as Lamina prints them.
readable() {
  awk -v b="$1" 'BEGIN {
    split("B kB MB GB TB", unit, " ")
    for (u = 1; b >= 999.5 && u < 5; u++) b /= 1000
    printf u == 1 ? "%d %s" : "%.3g %s", b, unit[u]
  }'
}
