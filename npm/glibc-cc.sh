#!/bin/sh
# The linker of `npm/build.mjs --glibc <version>`: zig has the symbols of every glibc, so what it links needs no newer one than
# that of ZIG_TARGET, whatever this machine has. gcc compiles as always.
set -eu
# rustc and the crate cc name the target in their own way.
for argument in "$@"; do
  shift
  case $argument in --target=* | -m64) ;; *) set -- "$@" "$argument" ;; esac
done
exec $ZIG cc -target "$ZIG_TARGET" "$@"
