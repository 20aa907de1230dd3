/* A library that allocates: preloaded beside a shim it does so before main and after it; dlopened, when called. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *early[1000];

__attribute__((constructor)) static void before_main(void) {
  for (size_t i = 0; i < 1000; i++) {
    early[i] = i % 2 ? malloc(i) : calloc(1, i + 1);
    if (!early[i]) abort();
    memset(early[i], (int)i, i);
  }
  for (size_t i = 0; i < 1000; i += 3) early[i] = realloc(early[i], 3 * i + 1);
}

__attribute__((destructor)) static void after_main(void) {
  for (size_t i = 0; i < 1000; i++) {
    for (size_t j = 0; j < i; j++)
      if (early[i][j] != (char)i) abort();
    free(early[i]);
  }
}

static void *churn(void *unused) {
  char *blocks[500];
  for (size_t i = 0; i < 500; i++) memset(blocks[i] = malloc(i * 40 + 1), 1, i * 40 + 1);
  for (size_t i = 0; i < 500; i++) free(realloc(blocks[i], i + 1));
  return unused;
}

/* Frees what it allocated itself, in this thread and in one of its own. */
const char *own(void) {
  pthread_t thread;
  churn(NULL);
  if (pthread_create(&thread, NULL, churn, NULL) != 0) return "no thread";
  pthread_join(thread, NULL);
  return "done";
}

/* Frees what the C library allocated for it. */
const char *library(void) {
  char *copy = strdup("a copy that strdup allocated"), *text = NULL;
  if (asprintf(&text, "%s", copy) < 0) return "asprintf failed";
  free(copy);
  free(text);
  return "done";
}
