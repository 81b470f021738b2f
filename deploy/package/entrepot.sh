#!/bin/sh
# Becomes the first Node of the PATH that is new enough, else the one that was installed beside this package.
needed='NODE_NEEDED'
dist=$(dirname "$(readlink -f "$0")")
# Of a small heap: what is short-lived takes 24 MiB of memory, not 48 (three semi-spaces of V8).
flags=--max-semi-space-size=8

is_new_enough() {
  found=$(NODE_OPTIONS='' "$1" --version 2>/dev/null) || return 1
  version=${found#v}
  rest=${version#*.}
  major=${version%%.*}
  minor=${rest%%.*}
  [ "$major" -gt "${needed%.*}" ] || { [ "$major" -eq "${needed%.*}" ] && [ "$minor" -ge "${needed#*.}" ]; }
}

# What npm puts before the PATH is not the machine's own.
folders=$PATH: seen='no Node is'
while [ -n "$folders" ]; do
  folder=${folders%%:*} folders=${folders#*:}
  case $folder in */node_modules/.bin) continue ;; esac
  node=${folder:-.}/node
  [ -x "$node" ] || continue
  is_new_enough "$node" && exec "$node" "$flags" "$dist/main.js" "$@"
  seen="Node ${found#v} is"
done
for packages in "$dist/../node_modules" "$dist/../.."; do
  for node in "$packages"/node-linux-*/bin/node; do
    [ -x "$node" ] && is_new_enough "$node" && exec "$node" "$flags" "$dist/main.js" "$@"
  done
done
echo "entrepot needs Node $needed or newer; $seen in the PATH, and none was installed beside it: install a newer one" >&2
exit 1
