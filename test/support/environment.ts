// The environment that tests start programs in: this process's, without what would choose an allocator.

const CHOOSES =
  /^(LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES|MALLOC_(?!BACKEND_BINARY_DIR$).*|MIMALLOC_.*|SNMALLOC_.*|PYTHONMALLOC)$/;

export function environment(more: Record<string, string> = {}): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && !CHOOSES.test(name)) result[name] = value;
  return { ...result, ...more };
}
