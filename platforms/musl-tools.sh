#!/bin/sh
# The compilers and the linker for musl that Debian has not got, each by a link to this file (root.mjs):
#
#   <cpu>-musl-g++   GNU's headers of C++ over musl's of C, as in Alpine. Node's `std::shared_ptr` is GNU's: libc++ will not do
#   <cpu>-musl-cc    links what rustc compiled: zig has musl's start files, an unwinder and the builtins for each CPU. (rustc
#                    takes a name that ends with ld for a linker without a compiler.)
#   <cpu>-musl-c++   compiles and links the tests' programs of C++, with zig's own libc++ in them
set -eu
name=${0##*/}
cpu=${name%%-*}
zig=/opt/zig/ziglang/zig

case $name in
  *-g++)
    gcc=$cpu-linux-gnu-g++
    version=$("$gcc" -dumpversion)
    headers=/usr/include/c++/$version
    [ "$cpu" = x86_64 ] || headers=/usr/$cpu-linux-gnu/include/c++/$version
    # Debian's own compiler and its compilers for other CPUs differ in where they keep these.
    machine=$headers/$cpu-linux-gnu
    [ -d "$machine" ] || machine=/usr/include/$cpu-linux-gnu/c++/$version
    exec "$gcc" -nostdinc -isystem "$headers" -isystem "$machine" -isystem "$headers/backward" \
      -isystem "/usr/include/$cpu-linux-musl" -isystem "$("$gcc" -print-file-name=include)" \
      '-D__GLIBC_PREREQ(major,minor)=0' "$@"
    ;;
  *-cc)
    # rustc and the crate cc name the target in their own way.
    for argument in "$@"; do
      shift
      case $argument in --target=* | -m64) ;; *) set -- "$@" "$argument" ;; esac
    done
    # zig's linker takes no aliases. The libraries that have some have no Rust's std, and so need no unwinder.
    case "$*" in
      *--defsym=*)
        for argument in "$@"; do
          shift
          case $argument in -lgcc_s) argument=-lgcc ;; esac
          set -- "$@" "$argument"
        done
        # Once more at the end: rustc says -nodefaultlibs, and the allocators in C need the compiler's own functions.
        exec "$cpu-linux-musl-gcc" -Wl,-z,defs "$@" -lgcc -lc
        ;;
      *) exec "$zig" cc -target "$cpu-linux-musl" "$@" ;;
    esac
    ;;
  *-c++) exec "$zig" c++ -target "$cpu-linux-musl" -fno-sanitize=all "$@" ;;
esac
