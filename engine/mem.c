/* SPDX-License-Identifier: MIT */
#include "engine/mem.h"

#include <sys/mman.h>

tri_mem tri_mem_get(size_t bytes) {
  if (bytes == 0) return (tri_mem){0};
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return (tri_mem){0};
  if (bytes >= 4u << 20) madvise(p, bytes, MADV_HUGEPAGE); /* small ones would round up to 2 MiB each */
  return (tri_mem){p, bytes};
}

void tri_mem_free(tri_mem *m) {
  if (m->data) munmap(m->data, m->bytes);
  *m = (tri_mem){0};
}
