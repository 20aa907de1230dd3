/* A program of another C library, of another word size or without a loader: it allocates, in threads and in a child. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 1000, ROUNDS = 50, THREADS = 4 };

static void *work(void *argument) {
  static __thread char *blocks[BLOCKS];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < BLOCKS; i++) {
      size_t size = 1 + i * 17 % 5000;
      blocks[i] = malloc(size);
      if (!blocks[i]) abort();
      memset(blocks[i], i, size);
    }
    for (int i = 0; i < BLOCKS; i++) {
      if (blocks[i][0] != (char)i) abort();
      free(blocks[i]);
    }
  }
  return argument;
}

int main(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, NULL) != 0) abort();
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  pid_t child = fork();
  if (child == 0) {
    work(NULL);
    _exit(7);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) abort();
  free(realloc(malloc(5), 5000000));
  printf("status %d, %d bits\n", WEXITSTATUS(status), (int)sizeof(void *) * 8);
  return 0;
}
