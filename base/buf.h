/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_BUF_H
#define TRI_BASE_BUF_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdbool.h>
#include "base/status.h"

/* A growable byte buffer, owned by its holder: {0} is a valid empty one. An allocation failure sets `failed`
 * and turns later appends into no-ops, so that a writer checks once at the end (tri_buf_ok). data is kept
 * NUL-terminated beyond `len`, so a text buffer can be used as a C string (NULL while nothing was appended). */
typedef struct tri_buf {
  uint8_t *data;
  size_t len, cap;
  bool failed;
} tri_buf;

void tri_buf_append(tri_buf *b, const void *bytes, size_t len);
void tri_buf_byte(tri_buf *b, uint8_t byte);
void tri_buf_printf(tri_buf *b, const char *fmt, ...) TRI_PRINTF(2, 3);
/* Make room for `len` more bytes and return where they go (uninitialised; len is NOT advanced). NULL on failure. */
uint8_t *tri_buf_reserve(tri_buf *b, size_t len);
static inline bool tri_buf_ok(const tri_buf *b) { return !b->failed; }
static inline void tri_buf_clear(tri_buf *b) { b->len = 0, b->failed = false; }
void tri_buf_free(tri_buf *b);

/* A bounds-checked reader over bytes from outside. Every read past the end sets `failed` and yields zeros, so
 * a parser may read a whole record and check once; nothing is ever read outside [data, data+len). */
typedef struct tri_cursor {
  const uint8_t *data;
  size_t len, pos;
  bool failed;
} tri_cursor;

static inline tri_cursor tri_cursor_over(const void *data, size_t len) {
  return (tri_cursor){(const uint8_t *)data, len, 0, false};
}
static inline size_t tri_cursor_left(const tri_cursor *c) { return c->failed ? 0 : c->len - c->pos; }
/* The next `len` bytes in place, or NULL. */
static inline const uint8_t *tri_cursor_take(tri_cursor *c, size_t len) {
  if (c->failed || len > c->len - c->pos) return c->failed = true, (const uint8_t *)0;
  const uint8_t *p = c->data + c->pos;
  return c->pos += len, p;
}
static inline void tri_cursor_copy(tri_cursor *c, void *out, size_t len) {
  const uint8_t *p = tri_cursor_take(c, len);
  if (p && len) memcpy(out, p, len);
  else if (len) memset(out, 0, len);
}
/* little-endian scalars; every platform that we build for is little-endian (checked in CMake) */
static inline uint8_t tri_cursor_u8(tri_cursor *c) { uint8_t v; return tri_cursor_copy(c, &v, sizeof v), v; }
static inline uint16_t tri_cursor_u16(tri_cursor *c) { uint16_t v; return tri_cursor_copy(c, &v, sizeof v), v; }
static inline uint32_t tri_cursor_u32(tri_cursor *c) { uint32_t v; return tri_cursor_copy(c, &v, sizeof v), v; }
static inline uint64_t tri_cursor_u64(tri_cursor *c) { uint64_t v; return tri_cursor_copy(c, &v, sizeof v), v; }
static inline float tri_cursor_f32(tri_cursor *c) { float v; return tri_cursor_copy(c, &v, sizeof v), v; }

/* a * b and a + b for sizes that come from outside: false if they don't fit */
static inline bool tri_size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool tri_size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

#endif
