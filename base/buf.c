/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

uint8_t *tri_buf_reserve(tri_buf *b, size_t len) {
  size_t need;
  if (b->failed || !tri_size_add(b->len, len, &need) || !tri_size_add(need, 1, &need)) return b->failed = true, NULL;
  if (need > b->cap) {
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need && cap <= SIZE_MAX / 2) cap *= 2;
    if (cap < need) cap = need;
    uint8_t *p = realloc(b->data, cap);
    if (!p) return b->failed = true, NULL;
    b->data = p, b->cap = cap;
  }
  return b->data + b->len;
}

void tri_buf_append(tri_buf *b, const void *bytes, size_t len) {
  uint8_t *p = tri_buf_reserve(b, len);
  if (!p) return;
  if (len) memcpy(p, bytes, len);
  b->len += len;
  b->data[b->len] = 0;
}

void tri_buf_byte(tri_buf *b, uint8_t byte) { tri_buf_append(b, &byte, 1); }

void tri_buf_printf(tri_buf *b, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  uint8_t *p = n < 0 ? NULL : tri_buf_reserve(b, (size_t)n);
  if (p) vsnprintf((char *)p, (size_t)n + 1, fmt, again), b->len += (size_t)n;
  else b->failed = true;
  va_end(again);
}

void tri_buf_free(tri_buf *b) {
  free(b->data);
  *b = (tri_buf){0};
}
