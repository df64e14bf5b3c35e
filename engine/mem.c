/* SPDX-License-Identifier: MIT */
#include "engine/mem.h"

#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

static char *map(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* Huge pages need an aligned range: map more, and give back what stands out at both ends. */
static char *map_huge(size_t bytes) {
  char *p = map(bytes + HUGE_PAGE);
  if (!p) return NULL;
  size_t before = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE, page = 64 << 10 /* the largest in use */;
  size_t end = (bytes + page - 1) / page * page;
  if (before) munmap(p, before);
  if (before + end < bytes + HUGE_PAGE) munmap(p + before + end, bytes + HUGE_PAGE - before - end);
  madvise(p + before, bytes, MADV_HUGEPAGE);
  return p + before;
}

tri_mem tri_mem_get(size_t bytes) {
  if (bytes < HUGE_PAGE) return tri_mem_get_sparse(bytes);
  char *p = map_huge(bytes);
  return p ? (tri_mem){p, bytes} : (tri_mem){0};
}

tri_mem tri_mem_get_sparse(size_t bytes) {
  char *p = bytes == 0 ? NULL : map(bytes);
  if (!p) return (tri_mem){0};
  madvise(p, bytes, MADV_NOHUGEPAGE); /* where huge pages are given unasked */
  return (tri_mem){p, bytes};
}

void tri_mem_free(tri_mem *m) {
  if (m->data) munmap(m->data, m->bytes);
  *m = (tri_mem){0};
}
