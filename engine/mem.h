/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_MEM_H
#define TRI_ENGINE_MEM_H
#include <stddef.h>
#include <stdint.h>

/* Large zeroed buffers straight from the kernel: page-aligned, on huge pages where the system has them (a token's weights
 * are read once from end to end, so TLB misses would cost), resident only once touched. */

typedef struct tri_mem {
  void *data;
  size_t bytes;
} tri_mem;

/* data is NULL when there is no memory; bytes == 0 gives an empty one, which is not a failure. */
tri_mem tri_mem_get(size_t bytes);
/* The same on small pages, for a buffer that is touched here and there: a huge page would be resident for its first byte. */
tri_mem tri_mem_get_sparse(size_t bytes);
void tri_mem_free(tri_mem *m);

#endif
