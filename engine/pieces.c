/* SPDX-License-Identifier: MIT */
#include "engine/pieces.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

/* --- GPT-2's alphabet: a printable character for each byte (Radford et al. 2019, encoder.py's
 * bytes_to_unicode) --- */

static bool is_itself(unsigned c) {
  return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/* The byte for a code point, or -1. The bytes that are not printable stand, in order, at U+0100 and up. */
static int byte_of(unsigned c) {
  if (c < 0x100) return is_itself(c) ? (int)c : -1;
  unsigned nth = c - 0x100;
  if (nth <= 0x20) return (int)nth;                    /* 00-20 */
  if (nth <= 0x20 + 34) return (int)(nth - 33 + 0x7f); /* 7f-a0 */
  return nth == 0x20 + 35 ? 0xad : -1;
}

/* Decode into out (at least text.len bytes); false if a character is outside the alphabet, which has one-byte
 * and two-byte UTF-8 forms only. */
static bool decode(tri_str text, uint8_t *out, size_t *n) {
  size_t at = 0;
  for (size_t i = 0; i < text.len; i++) {
    unsigned c = (uint8_t)text.data[i];
    if (c >= 0x80) {
      if (c < 0xc2 || c > 0xdf || i + 1 == text.len || ((uint8_t)text.data[i + 1] & 0xc0) != 0x80)
        return false;
      c = (c & 0x1f) << 6 | ((uint8_t)text.data[++i] & 0x3f);
    }
    int b = byte_of(c);
    if (b < 0) return false;
    out[at++] = (uint8_t)b;
  }
  *n = at;
  return true;
}

/* --- bytes -> id --- */

static uint64_t hash(const uint8_t *p, size_t n) {
  const uint64_t k = 0x9e3779b97f4a7c15u;
  uint64_t h = n * k, v;
  for (; n >= 8; n -= 8, p += 8) {
    memcpy(&v, p, 8);
    h = (h ^ v) * k, h ^= h >> 32;
  }
  v = 0;
  memcpy(&v, p, n);
  h = (h ^ v) * k;
  return h ^ h >> 32;
}

static bool index_open(tri_piece_index *x, size_t n) {
  size_t n_slots = 16;
  while (n_slots < n + n / 2) n_slots *= 2;
  x->slots = malloc(n_slots * sizeof *x->slots);
  if (!x->slots) return false;
  memset(x->slots, 0xff, n_slots * sizeof *x->slots);
  x->mask = n_slots - 1;
  return true;
}

/* The slot that holds these bytes' id, or the empty one where it would stand. */
static int32_t *index_slot(const tri_pieces *p, const tri_piece_index *x, const uint8_t *bytes, size_t len) {
  uint64_t i = hash(bytes, len) & x->mask;
  for (; x->slots[i] >= 0; i = (i + 1) & x->mask) {
    tri_str s = tri_pieces_at(p, (size_t)x->slots[i]);
    if (s.len == len && !memcmp(s.data, bytes, len)) break;
  }
  return &x->slots[i];
}

static void index_add(const tri_pieces *p, const tri_piece_index *x, size_t id) {
  tri_str s = tri_pieces_at(p, id);
  int32_t *slot = index_slot(p, x, (const uint8_t *)s.data, s.len);
  if (*slot < 0) *slot = (int32_t)id;
}

int32_t tri_pieces_word(const tri_pieces *p, const uint8_t *bytes, size_t len) {
  return len && len <= p->longest_word ? *index_slot(p, &p->words, bytes, len) : -1;
}

int32_t tri_pieces_added(const tri_pieces *p, const uint8_t *bytes, size_t len, bool special) {
  for (size_t i = 0; i < p->n_added_lengths; i++) {
    if (p->added_lengths[i] > len) continue;
    int32_t id = *index_slot(p, &p->added, bytes, p->added_lengths[i]);
    if (id >= 0 && (special || p->types[id] == TRI_TOKEN_USER)) return id;
  }
  return -1;
}

int32_t tri_pieces_spelled(const tri_pieces *p, tri_str text) {
  uint8_t word[256], *bytes = text.len <= sizeof word ? word : malloc(text.len);
  size_t n;
  int32_t id = bytes && decode(text, bytes, &n) ? tri_pieces_word(p, bytes, n) : -1;
  if (bytes != word) free(bytes);
  return id;
}

/* --- opening --- */

static bool is_added(int32_t type) { return type == TRI_TOKEN_CONTROL || type == TRI_TOKEN_USER; }

static tri_status allocate(tri_pieces *p, const tri_vocab *v, tri_error *err) {
  size_t bytes = 1, n_added = 0;
  for (size_t i = 0; i < v->n_tokens; i++) {
    n_added += is_added(v->types[i]);
    if (!tri_size_add(bytes, v->tokens[i].len, &bytes) || bytes > UINT32_MAX)
      return tri_status_fail(err, TRI_E_LIMIT, "the vocabulary's text is larger than 4 GiB");
  }
  p->bytes = malloc(bytes);
  p->starts = malloc((v->n_tokens + 1) * sizeof *p->starts);
  p->types = malloc(v->n_tokens);
  if (!p->bytes || !p->starts || !p->types || !index_open(&p->words, v->n_tokens - n_added) ||
      !index_open(&p->added, n_added))
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for %zu tokens", v->n_tokens);
  return TRI_OK;
}

static tri_status add_token(tri_pieces *p, const tri_vocab *v, size_t id,
                            bool has_length[TRI_PIECES_ADDED_BYTES + 1], tri_error *err) {
  tri_str text = v->tokens[id];
  uint8_t *out = p->bytes + p->starts[id];
  size_t n = text.len;
  bool word = v->types[id] == TRI_TOKEN_NORMAL && decode(text, out, &n);
  if (!word) {
    n = text.len;
    if (n) memcpy(out, text.data, n);
  }
  p->types[id] = (uint8_t)v->types[id];
  p->starts[id + 1] = p->starts[id] + (uint32_t)n;
  if (!n) return TRI_OK;
  if (word) {
    index_add(p, &p->words, id);
    if (n > p->longest_word) p->longest_word = n;
  } else if (is_added(v->types[id])) {
    if (n > TRI_PIECES_ADDED_BYTES)
      return tri_status_fail(err, TRI_E_LIMIT, "token %zu, an added one, has %zu bytes, more than %d", id, n,
                             TRI_PIECES_ADDED_BYTES);
    index_add(p, &p->added, id);
    has_length[n] = p->first_special[*out] = true;
    if (v->types[id] == TRI_TOKEN_USER) p->first_user[*out] = true;
  }
  return TRI_OK;
}

static tri_status fill(tri_pieces *p, const tri_vocab *v, tri_error *err) {
  bool has_length[TRI_PIECES_ADDED_BYTES + 1] = {0};
  tri_status st = allocate(p, v, err);
  if (st != TRI_OK) return st;
  p->starts[0] = 0;
  for (; p->n < v->n_tokens; p->n++)
    if ((st = add_token(p, v, p->n, has_length, err)) != TRI_OK) return st;
  p->added_lengths = malloc(TRI_PIECES_ADDED_BYTES * sizeof *p->added_lengths);
  if (!p->added_lengths) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for added tokens");
  for (size_t len = TRI_PIECES_ADDED_BYTES; len; len--)
    if (has_length[len]) p->added_lengths[p->n_added_lengths++] = (uint16_t)len;
  return TRI_OK;
}

tri_status tri_pieces_open(tri_pieces *out, const tri_vocab *v, tri_error *err) {
  tri_pieces p = {0};
  tri_status st = fill(&p, v, err);
  if (st == TRI_OK)
    *out = p;
  else
    tri_pieces_close(&p);
  return st;
}

void tri_pieces_close(tri_pieces *p) {
  free(p->bytes);
  free(p->starts);
  free(p->types);
  free(p->words.slots);
  free(p->added.slots);
  free(p->added_lengths);
  *p = (tri_pieces){0};
}
