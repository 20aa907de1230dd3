#!/bin/sh
# The linker of `npm/build.mjs --glibc <version>`: zig has the symbols of every glibc, so what it links needs no newer one than
# that of ZIG_TARGET, whatever this machine has. gcc compiles as always.
set -eu
# rustc and the crate cc name the target in their own way. snmalloc's crate asks for a C++ library, from which it takes nothing, and
# zig would compile its own.
for argument in "$@"; do
  shift
  case $argument in --target=* | -m64 | -lstdc++) ;; *) set -- "$@" "$argument" ;; esac
done
exec $ZIG cc -target "$ZIG_TARGET" "$@"
