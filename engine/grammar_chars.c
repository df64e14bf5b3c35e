/* SPDX-License-Identifier: MIT */
/* Characters as bytes: a range of code points is a few sequences of ranges of bytes, as UTF-8 keeps their order. */
#include "engine/grammar_impl.h"

#include <stdlib.h>

/* The ranges of bytes of one sequence. */
typedef struct bytes {
  uint8_t lo[4], hi[4];
  int n;
} bytes;

static int encode(uint32_t c, uint8_t out[4]) {
  static const uint8_t lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
  int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3f));
  out[0] = (uint8_t)(n == 1 ? c : lead[n] | c);
  return n;
}

static tri_status push_set(grammar_builder *b, tri_buf *sequence, const uint8_t set[32]) {
  uint32_t id = tri_interner_put(b->sets, set, 32, NULL);
  if (id == TRI_INTERNER_NONE) return tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  return grammar_push(b, sequence, grammar_symbol(TRI_SYMBOL_BYTES, id));
}

static void add_bytes(uint8_t set[32], unsigned lo, unsigned hi) {
  for (unsigned c = lo; c <= hi; c++) set[c / 8] |= (uint8_t)(1u << c % 8);
}

static tri_status push_bytes(grammar_builder *b, tri_buf *sequence, const bytes *x) {
  tri_status status = TRI_OK;
  for (int i = 0; i < x->n && status == TRI_OK; i++) {
    uint8_t set[32] = {0};
    add_bytes(set, x->lo[i], x->hi[i]);
    status = push_set(b, sequence, set);
  }
  return status;
}

tri_status grammar_push_char(grammar_builder *b, tri_buf *sequence, uint32_t c) {
  bytes x;
  x.n = encode(c, x.lo);
  encode(c, x.hi);
  return push_bytes(b, sequence, &x);
}

/* The largest end of a range from lo on, at most hi, whose encodings are all combinations of one range for each byte. */
static uint32_t split(uint32_t lo, uint32_t hi) {
  static const uint32_t last_of_length[] = {0x7f, 0x7ff, 0xffff};
  for (int i = 0; i < 3; i++)
    if (lo <= last_of_length[i] && hi > last_of_length[i]) hi = last_of_length[i];
  for (unsigned bits = 6; bits <= 18; bits += 6) {
    uint32_t low = (1u << bits) - 1;
    if (lo <= 0x7f || (lo & ~low) == (hi & ~low)) continue;
    if (lo & low) return (lo | low) < hi ? (lo | low) : hi;
    if ((hi & low) != low) hi = (hi & ~low) - 1;
  }
  return hi;
}

/* One byte's characters go into `single`; each other sequence is an alternative of the rule. */
static tri_status add_range(grammar_builder *b, uint32_t rule, grammar_range r, uint8_t single[32]) {
  tri_status status = TRI_OK;
  for (uint32_t lo = r.lo, hi; lo <= r.hi && status == TRI_OK; lo = hi + 1) {
    bytes x;
    hi = split(lo, r.hi);
    x.n = encode(lo, x.lo);
    encode(hi, x.hi);
    if (x.n == 1) {
      add_bytes(single, lo, hi);
      continue;
    }
    tri_buf sequence = {0};
    status = push_bytes(b, &sequence, &x);
    if (status == TRI_OK) status = grammar_add_alt(b, rule, &sequence);
    tri_buf_free(&sequence);
  }
  return status;
}

static int by_start(const void *a, const void *b) {
  uint32_t x = ((const grammar_range *)a)->lo, y = ((const grammar_range *)b)->lo;
  return (x > y) - (x < y);
}

/* In order, without overlaps. */
static size_t merge(grammar_range *r, size_t n) {
  size_t kept = 0;
  if (n) qsort(r, n, sizeof *r, by_start);
  for (size_t i = 0; i < n; i++) {
    if (kept && r[i].lo <= r[kept - 1].hi + 1) r[kept - 1].hi = r[i].hi > r[kept - 1].hi ? r[i].hi : r[kept - 1].hi;
    else r[kept++] = r[i];
  }
  return kept;
}

static void append_range(tri_buf *out, uint32_t lo, uint32_t hi) {
  static const grammar_range valid[] = {{0, 0xd7ff}, {0xe000, GRAMMAR_MOST_CHAR}}; /* surrogates are no characters */
  for (int i = 0; i < 2; i++) {
    grammar_range r = {lo > valid[i].lo ? lo : valid[i].lo, hi < valid[i].hi ? hi : valid[i].hi};
    if (r.lo <= r.hi) tri_buf_append(out, &r, sizeof r);
  }
}

static tri_status add_class(grammar_builder *b, uint32_t rule, const tri_buf *ranges) {
  uint8_t single[32] = {0}, none[32] = {0};
  tri_buf sequence = {0};
  tri_status status = TRI_OK;
  for (size_t i = 0; i < ranges->len / sizeof(grammar_range) && status == TRI_OK; i++)
    status = add_range(b, rule, ((const grammar_range *)(const void *)ranges->data)[i], single);
  if (status == TRI_OK && memcmp(single, none, sizeof none) != 0) {
    status = push_set(b, &sequence, single);
    if (status == TRI_OK) status = grammar_add_alt(b, rule, &sequence);
  }
  tri_buf_free(&sequence);
  return status;
}

/* The same class again is the same rule; one of ASCII alone needs none. */
static tri_status push_ranges(grammar_builder *b, tri_buf *sequence, const tri_buf *ranges) {
  bool fresh;
  const grammar_range *r = (const grammar_range *)(const void *)ranges->data;
  size_t n = ranges->len / sizeof *r;
  if (r[n - 1].hi < 0x80) {
    uint8_t set[32] = {0};
    for (size_t i = 0; i < n; i++) add_bytes(set, r[i].lo, r[i].hi);
    return push_set(b, sequence, set);
  }
  uint32_t rule, class = tri_interner_put(b->classes, ranges->data, ranges->len, &fresh);
  if (class == TRI_INTERNER_NONE) return tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  if (!fresh) {
    memcpy(&rule, b->class_rules.data + class * sizeof rule, sizeof rule);
    return grammar_push(b, sequence, grammar_symbol(TRI_SYMBOL_CALL, rule));
  }
  tri_status status = grammar_add_rule(b, &rule);
  if (status == TRI_OK) status = add_class(b, rule, ranges);
  tri_buf_append(&b->class_rules, &rule, sizeof rule);
  if (status == TRI_OK && !tri_buf_ok(&b->class_rules)) status = tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  return status == TRI_OK ? grammar_push(b, sequence, grammar_symbol(TRI_SYMBOL_CALL, rule)) : status;
}

tri_status grammar_push_class(grammar_builder *b, tri_buf *sequence, grammar_range *ranges, size_t n, bool negated) {
  tri_buf wanted = {0};
  uint32_t next = 0;
  n = merge(ranges, n);
  for (size_t i = 0; i < n; i++) {
    if (!negated) append_range(&wanted, ranges[i].lo, ranges[i].hi);
    else if (ranges[i].lo > next) append_range(&wanted, next, ranges[i].lo - 1);
    next = ranges[i].hi + 1;
  }
  if (negated && next <= GRAMMAR_MOST_CHAR) append_range(&wanted, next, GRAMMAR_MOST_CHAR);
  tri_status status;
  if (!tri_buf_ok(&wanted)) status = tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  else if (!wanted.len) status = GRAMMAR_FAIL(b, TRI_E_INVALID, "a class that no character is in");
  else status = push_ranges(b, sequence, &wanted);
  tri_buf_free(&wanted);
  return status;
}
