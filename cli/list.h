/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_LIST_H
#define TRI_CLI_LIST_H
#include <stdbool.h>
#include <stdlib.h>

/* Room for one more element in a malloc'ed list of n, with room for *cap; false: out of memory, and nothing has changed. */
static inline bool tri_list_grow(void **list, size_t n, size_t *cap, size_t size) {
  if (n < *cap) return true;
  size_t more = *cap ? 2 * *cap : 256;
  void *grown = realloc(*list, more * size);
  if (grown) *list = grown, *cap = more;
  return grown != NULL;
}
/* For a list, its number of elements and its room, which are fields of *s. */
#define TRI_LIST_GROW(s, list, n, cap) tri_list_grow((void **)&(s)->list, (s)->n, &(s)->cap, sizeof *(s)->list)

#endif
