/* A program without a C++ runtime that opens a library in C++ for itself, and calls its look(). */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
  return ((int (*)(void))dlsym(library, "look"))();
}
