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
static bool decode_alphabet(tri_str text, uint8_t *out, size_t *n) {
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

/* SentencePiece writes a space as U+2581. */
static void decode_spaces(tri_str text, uint8_t *out, size_t *n) {
  size_t at = 0;
  for (size_t i = 0; i < text.len; i++) {
    bool mark = text.len - i >= 3 && memcmp(text.data + i, "\xe2\x96\x81", 3) == 0;
    out[at++] = mark ? ' ' : (uint8_t)text.data[i];
    if (mark) i += 2;
  }
  *n = at;
}

static bool decode(tri_vocab_model model, tri_str text, uint8_t *out, size_t *n) {
  if (model == TRI_VOCAB_BYTES) return decode_alphabet(text, out, n);
  return decode_spaces(text, out, n), true;
}

int tri_pieces_byte(tri_str text) {
  static const char digits[] = "0123456789ABCDEF";
  if (text.len != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>') return -1;
  const char *high = memchr(digits, text.data[3], 16), *low = memchr(digits, text.data[4], 16);
  return high && low ? (int)(16 * (high - digits) + (low - digits)) : -1;
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

int32_t tri_pieces_spelled(const tri_pieces *p, tri_str text) {
  uint8_t word[256], *bytes = text.len <= sizeof word ? word : malloc(text.len);
  size_t n;
  int32_t id = bytes && decode(p->model, text, bytes, &n) ? tri_pieces_word(p, bytes, n) : -1;
  if (bytes != word) free(bytes);
  return id;
}

/* --- opening --- */

static tri_status allocate(tri_pieces *p, const tri_vocab *v, tri_error *err) {
  size_t bytes = 1, n_words = 0;
  for (size_t i = 0; i < v->n_tokens; i++) {
    n_words += v->types[i] == TRI_TOKEN_NORMAL || v->types[i] == TRI_TOKEN_USER;
    if (!tri_size_add(bytes, v->tokens[i].len, &bytes) || bytes > UINT32_MAX)
      return tri_status_fail(err, TRI_E_LIMIT, "the vocabulary's text is larger than 4 GiB");
  }
  p->bytes = malloc(bytes);
  p->starts = malloc((v->n_tokens + 1) * sizeof *p->starts);
  p->types = malloc(v->n_tokens);
  if (!p->bytes || !p->starts || !p->types || !index_open(&p->words, n_words))
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for %zu tokens", v->n_tokens);
  return TRI_OK;
}

static tri_status add_token(tri_pieces *p, const tri_vocab *v, size_t id, tri_error *err) {
  tri_str text = v->tokens[id];
  uint8_t *out = p->bytes + p->starts[id];
  size_t n = text.len;
  int byte = v->types[id] == TRI_TOKEN_BYTE ? tri_pieces_byte(text) : -1;
  bool user = v->types[id] == TRI_TOKEN_USER && v->n_merges;
  bool word = (v->types[id] == TRI_TOKEN_NORMAL || user) && decode(p->model, text, out, &n);
  if (user) word = word && n == text.len && memcmp(out, text.data, n) == 0;
  if (byte >= 0) *out = (uint8_t)byte, n = 1;
  else if (!word && text.len) memcpy(out, text.data, n = text.len);
  p->types[id] = (uint8_t)v->types[id];
  p->starts[id + 1] = p->starts[id] + (uint32_t)n;
  if (!n || !word) return TRI_OK;
  if (p->model != TRI_VOCAB_BYTES && n > TRI_PIECES_WORD_BYTES)
    return tri_status_fail(err, TRI_E_LIMIT, "token %zu of a SentencePiece model has %zu bytes, more than %d", id, n,
                           TRI_PIECES_WORD_BYTES);
  index_add(p, &p->words, id);
  if (n > p->longest_word) p->longest_word = n;
  return TRI_OK;
}

static tri_status fill(tri_pieces *p, const tri_vocab *v, tri_error *err) {
  tri_status st = allocate(p, v, err);
  if (st != TRI_OK) return st;
  p->starts[0] = 0;
  for (; p->n < v->n_tokens; p->n++)
    if ((st = add_token(p, v, p->n, err)) != TRI_OK) return st;
  return TRI_OK;
}

tri_status tri_pieces_open(tri_pieces *out, const tri_vocab *v, tri_error *err) {
  tri_pieces p = {.model = v->model};
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
  *p = (tri_pieces){0};
}
