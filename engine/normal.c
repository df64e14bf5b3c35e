/* SPDX-License-Identifier: MIT */
#include "engine/normal.h"

#include <stdlib.h>
#include <uninorm.h>
#include "engine/utf8.h"

static const char SPACE_MARK[] = "\xe2\x96\x81"; /* U+2581 */

tri_normal tri_normal_of(const tri_vocab *v) {
  bool spaces = v->model != TRI_VOCAB_BYTES;
  return (tri_normal){.composes = v->composes, .spaces = spaces, .prefix = spaces ? v->prefix : 0, .squeezes = spaces && v->squeezes};
}

bool tri_normal_acts(const tri_normal *n) { return n->composes || n->spaces; }

size_t tri_normal_valid(const uint8_t *text, size_t len, size_t *bad) {
  size_t at = 0;
  *bad = 0;
  while (at < len) {
    int n = text[at] < 0x80 ? 1 : tri_utf8_next(text + at, len - at);
    if (n <= 0) return *bad = n ? (size_t)-n : len - at, at;
    at += (size_t)n;
  }
  return at;
}

/* Characters below U+0300, whose UTF-8 begins with less than 0xcc, are in form C already and stay so beside each other. */
static bool is_composed(const uint8_t *text, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (text[i] >= 0xcc) return false;
  return true;
}

static void compose(const uint8_t *text, size_t len, tri_buf *out) {
  if (is_composed(text, len)) {
    tri_buf_append(out, text, len);
    return;
  }
  size_t n;
  uint8_t *composed = u8_normalize(UNINORM_NFC, text, len, NULL, &n);
  if (composed) tri_buf_append(out, composed, n);
  else out->failed = true;
  free(composed);
}

static void compose_all(const uint8_t *text, size_t len, tri_buf *out) {
  for (size_t at = 0, bad; at < len; at += bad) {
    size_t n = tri_normal_valid(text + at, len - at, &bad);
    compose(text + at, n, out);
    at += n;
    tri_buf_append(out, text + at, bad);
  }
}

/* The bytes of the space, or of the mark for one, at the start of a text; 0 if there is none. */
static size_t space_at(const uint8_t *text, size_t len) {
  size_t mark = sizeof SPACE_MARK - 1;
  return len && *text == ' ' ? 1 : len >= mark && memcmp(text, SPACE_MARK, mark) == 0 ? mark : 0;
}

/* With marks as spaces, and as few of them as asked for. */
static void put_spaced(const tri_normal *n, const uint8_t *text, size_t len, tri_buf *out) {
  uint8_t *to = tri_buf_reserve(out, len);
  size_t used = 0;
  for (size_t i = 0; to && i < len;) {
    size_t space = space_at(text + i, len - i);
    if (!space || !n->squeezes || (used && to[used - 1] != ' ')) to[used++] = space ? ' ' : text[i];
    i += space ? space : 1;
  }
  if (n->squeezes && used && to[used - 1] == ' ') used--;
  out->len += used;
}

static void put_prefixed(const tri_normal *n, const uint8_t *text, size_t len, bool first, tri_buf *out) {
  bool there = !n->squeezes && n->prefix & TRI_PREFIX_UNLESS_THERE && space_at(text, len);
  size_t start = out->len;
  if (n->prefix & TRI_PREFIX_SPACE && (first || !(n->prefix & TRI_PREFIX_FIRST)) && !there) tri_buf_byte(out, ' ');
  size_t prefixed = out->len;
  put_spaced(n, text, len, out);
  if (n->squeezes && out->len == prefixed) out->len = start; /* it was nothing but spaces */
}

tri_status tri_normal_append(const tri_normal *n, const uint8_t *text, size_t len, bool first, tri_buf *out) {
  tri_buf composed = {0};
  if (!len) return TRI_OK;
  if (n->composes) compose_all(text, len, n->spaces ? &composed : out);
  bool ok = tri_buf_ok(n->spaces ? &composed : out);
  if (ok && n->spaces)
    put_prefixed(n, n->composes ? composed.data : text, n->composes ? composed.len : len, first, out);
  tri_buf_free(&composed);
  return ok && tri_buf_ok(out) ? TRI_OK : TRI_E_NOMEM;
}
