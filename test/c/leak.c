// A library for ctypes, which gives up Python's lock while it calls a function.

#include <stdlib.h>

void *volatile leaked;

void leak_in_c(size_t size) { leaked = malloc(size); }
