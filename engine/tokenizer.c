/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/tokenizer.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "engine/bpe.h"
#include "engine/pieces.h"
#include "engine/utf8.h"

/* Llama 3's pre-tokenizer, here in two lines:
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
 *   | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * with two changes that keep its meaning: \s is spelled out, since PCRE2's also has U+180E, which Unicode's
 * White_Space (and so the original) lacks; and \s*[\r\n]+ is written without backtracking, so that a long run
 * of blanks costs linear time and no stack. Every character starts some alternative, so matches follow each
 * other without gaps. */
#define BLANK                                                                                                \
  "\\t\\x0b\\f \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define SPACE "\\r\\n" BLANK
static const char llama_bpe[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
                                "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
                                "|\\p{N}{1,3}"
                                "| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n]*"
                                "|(?:[" BLANK "]*+[\\r\\n]++)++"
                                "|[" SPACE "]+(?![^" SPACE "])"
                                "|[" SPACE "]+";

/* Steps and heap of one match without JIT: linear in the text for this pattern, so only a fault of ours meets
 * them. */
enum { MATCH_STEPS = 4 * TRI_TOKENIZER_TEXT_BYTES, MATCH_HEAP_KIB = 1024 };

struct tri_tokenizer {
  tri_pieces pieces;
  tri_bpe *bpe;
  pcre2_code *words;
  pcre2_match_context *limits;
  int32_t bytes[256]; /* the token of each byte */
  int32_t ends[8];
  int n_ends;
  int32_t bos;
  bool add_bos, ignore_merges;
};

/* --- ids --- */

void tri_ids_free(tri_ids *ids) {
  free(ids->data);
  *ids = (tri_ids){0};
}

tri_status tri_ids_push(tri_ids *ids, int32_t id) {
  if (ids->len == ids->cap) {
    size_t cap = ids->cap ? ids->cap * 2 : 32;
    int32_t *p = realloc(ids->data, cap * sizeof *p);
    if (!p) return TRI_E_NOMEM;
    ids->data = p, ids->cap = cap;
  }
  ids->data[ids->len++] = id;
  return TRI_OK;
}

/* --- opening --- */

static tri_status compile_words(tri_tokenizer *t, tri_error *err) {
  int code;
  size_t at;
  t->words = pcre2_compile((PCRE2_SPTR)llama_bpe, sizeof llama_bpe - 1,
                           PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &code, &at, NULL);
  if (!t->words)
    return tri_status_fail(err, TRI_E_INTERNAL, "PCRE2 refuses the pre-tokenizer's pattern (error %d at %zu)",
                           code, at);
  pcre2_jit_compile(t->words, PCRE2_JIT_COMPLETE); /* without JIT the interpreter matches the same */
  t->limits = pcre2_match_context_create(NULL);
  if (!t->limits) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the pre-tokenizer");
  pcre2_set_match_limit(t->limits, MATCH_STEPS);
  pcre2_set_heap_limit(t->limits, MATCH_HEAP_KIB);
  return TRI_OK;
}

/* What two adjacent words join to, or -1; false if there is no memory to tell. */
static bool join(const tri_pieces *p, int32_t left, int32_t right, int32_t *merged) {
  tri_str a = tri_pieces_at(p, (size_t)left), b = tri_pieces_at(p, (size_t)right);
  tri_buf joined = {0};
  tri_buf_append(&joined, a.data, a.len);
  tri_buf_append(&joined, b.data, b.len);
  bool ok = tri_buf_ok(&joined);
  if (ok) *merged = tri_pieces_word(p, joined.data, joined.len);
  tri_buf_free(&joined);
  return ok;
}

static tri_status add_merge(tri_tokenizer *t, const tri_vocab *v, size_t rank, tri_error *err) {
  tri_str m = v->merges[rank];
  const char *blank = m.len ? memchr(m.data, ' ', m.len) : NULL;
  size_t n = blank ? (size_t)(blank - m.data) : m.len;
  int32_t left = tri_pieces_spelled(&t->pieces, (tri_str){m.data, n});
  int32_t right = blank ? tri_pieces_spelled(&t->pieces, (tri_str){blank + 1, m.len - n - 1}) : -1;
  int32_t merged = -1;
  if (left >= 0 && right >= 0 && !join(&t->pieces, left, right, &merged))
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for merges");
  if (merged < 0) {
    char shown[96];
    tri_str_printable(m, shown, sizeof shown);
    return tri_status_fail(err, TRI_E_FORMAT, "merge %zu, \"%s\", is not two tokens that join to a third",
                           rank, shown);
  }
  tri_bpe_add(t->bpe, left, right, (uint32_t)rank, merged);
  return TRI_OK;
}

static void add_end(tri_tokenizer *t, int32_t id) {
  if (id >= 0 && !tri_tokenizer_is_end(t, id)) t->ends[t->n_ends++] = id;
}

static void find_ends(tri_tokenizer *t, const tri_vocab *v) {
  static const char *const names[] = {"<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "</s>"};
  add_end(t, v->eos);
  add_end(t, v->eot);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    size_t len = strlen(names[i]);
    int32_t id = tri_pieces_added(&t->pieces, (const uint8_t *)names[i], len, true);
    if (id >= 0 && t->pieces.types[id] == TRI_TOKEN_CONTROL &&
        tri_pieces_at(&t->pieces, (size_t)id).len == len)
      add_end(t, id);
  }
}

static tri_status build(tri_tokenizer *t, const tri_vocab *v, tri_error *err) {
  if (!v->n_tokens || v->n_tokens > TRI_VOCAB_TOKENS)
    return tri_status_fail(err, TRI_E_LIMIT, "a vocabulary of %zu tokens; 1 to %d are supported", v->n_tokens,
                           TRI_VOCAB_TOKENS);
  if (v->bos >= (int64_t)v->n_tokens || v->eos >= (int64_t)v->n_tokens || v->eot >= (int64_t)v->n_tokens)
    return tri_status_fail(err, TRI_E_FORMAT, "BOS %d, EOS %d or end of turn %d is not one of %zu tokens",
                           v->bos, v->eos, v->eot, v->n_tokens);
  if (!v->pre || !tri_vocab_pre((tri_str){v->pre, strlen(v->pre)}))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "pre-tokenizer \"%s\"; only \"llama-bpe\" is supported",
                           v->pre ? v->pre : "");
  tri_status st = tri_pieces_open(&t->pieces, v, err);
  if (st == TRI_OK) st = tri_bpe_create(&t->bpe, v->n_merges, err);
  for (size_t i = 0; st == TRI_OK && i < v->n_merges; i++) st = add_merge(t, v, i, err);
  if (st == TRI_OK) st = compile_words(t, err);
  if (st != TRI_OK) return st;
  for (int b = 0; b < 256; b++) {
    t->bytes[b] = tri_pieces_word(&t->pieces, &(uint8_t){(uint8_t)b}, 1);
    if (t->bytes[b] < 0)
      return tri_status_fail(err, TRI_E_FORMAT, "the vocabulary has no token for the byte 0x%02x", b);
  }
  find_ends(t, v);
  t->bos = v->bos;
  t->add_bos = v->add_bos;
  t->ignore_merges = v->ignore_merges;
  return TRI_OK;
}

tri_status tri_tokenizer_open(tri_tokenizer **out, tri_vocab *vocab, tri_error *err) {
  tri_tokenizer *t = calloc(1, sizeof *t);
  if (!t) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the tokenizer");
  tri_status st = build(t, vocab, err);
  if (st != TRI_OK) return tri_tokenizer_close(&t), st;
  tri_vocab_free(vocab);
  *out = t;
  return TRI_OK;
}

void tri_tokenizer_close(tri_tokenizer **t) {
  if (!*t) return;
  tri_pieces_close(&(*t)->pieces);
  tri_bpe_destroy(&(*t)->bpe);
  pcre2_code_free((*t)->words);
  pcre2_match_context_free((*t)->limits);
  free(*t);
  *t = NULL;
}

/* --- encoding --- */

typedef struct encoder {
  const tri_tokenizer *t;
  pcre2_match_data *match;
  tri_bpe_scratch scratch;
  tri_ids *out;
  tri_error *err;
} encoder;

static tri_status out_of_memory(const encoder *e) {
  return tri_status_fail(e->err, TRI_E_NOMEM, "out of memory for tokens");
}

static tri_status encode_word(encoder *e, const uint8_t *bytes, size_t len) {
  const tri_tokenizer *t = e->t;
  int32_t id = len == 1 ? t->bytes[*bytes] : t->ignore_merges ? tri_pieces_word(&t->pieces, bytes, len) : -1;
  tri_status st =
      id >= 0 ? tri_ids_push(e->out, id) : tri_bpe_word(t->bpe, &e->scratch, bytes, len, t->bytes, e->out);
  return st == TRI_OK ? TRI_OK : out_of_memory(e);
}

static tri_status encode_valid(encoder *e, const uint8_t *text, size_t len) {
  for (size_t pos = 0; pos < len;) {
    int rc = pcre2_match(e->t->words, text, len, pos, PCRE2_NO_UTF_CHECK, e->match, e->t->limits);
    size_t end = rc > 0 ? pcre2_get_ovector_pointer(e->match)[1] : pos;
    if (end == pos)
      return tri_status_fail(e->err, TRI_E_INTERNAL, "the pre-tokenizer stopped at byte %zu (PCRE2 code %d)",
                             pos, rc);
    tri_status st = encode_word(e, text + pos, end - pos);
    if (st != TRI_OK) return st;
    pos = end;
  }
  return TRI_OK;
}

/* Text without added tokens. PCRE2 sees only valid UTF-8, checked once here (its own check would run over the
 * rest of the text at every match); a byte outside of valid UTF-8 is a token of its own. */
static tri_status encode_text(encoder *e, const uint8_t *text, size_t len) {
  size_t start = 0, pos = 0;
  while (pos < len) {
    int n = text[pos] < 0x80 ? 1 : tri_utf8_next(text + pos, len - pos);
    if (n > 0) {
      pos += (size_t)n;
      continue;
    }
    tri_status st = encode_valid(e, text + start, pos - start);
    for (size_t end = n ? pos + (size_t)-n : len; st == TRI_OK && pos < end; pos++)
      st = encode_word(e, text + pos, 1);
    if (st != TRI_OK) return st;
    start = pos;
  }
  return encode_valid(e, text + start, len - start);
}

static tri_status encode_all(encoder *e, const uint8_t *text, size_t len, bool special) {
  const tri_pieces *p = &e->t->pieces;
  const bool *first = special ? p->first_special : p->first_user;
  size_t start = 0, pos = 0;
  while (pos < len) {
    int32_t id = first[text[pos]] ? tri_pieces_added(p, text + pos, len - pos, special) : -1;
    if (id < 0) {
      pos++;
      continue;
    }
    tri_status st = encode_text(e, text + start, pos - start);
    if (st != TRI_OK) return st;
    if (tri_ids_push(e->out, id) != TRI_OK) return out_of_memory(e);
    start = pos += tri_pieces_at(p, (size_t)id).len;
  }
  return encode_text(e, text + start, len - start);
}

tri_status tri_tokenizer_encode(const tri_tokenizer *t, const char *text, size_t len, bool special,
                                tri_ids *out, tri_error *err) {
  if (len > TRI_TOKENIZER_TEXT_BYTES)
    return tri_status_fail(err, TRI_E_LIMIT, "a text of %zu bytes, more than the limit of %d", len,
                           TRI_TOKENIZER_TEXT_BYTES);
  encoder e = {.t = t, .match = pcre2_match_data_create(1, NULL), .out = out, .err = err};
  if (!e.match) return out_of_memory(&e);
  size_t before = out->len;
  tri_status st = len ? encode_all(&e, (const uint8_t *)text, len, special) : TRI_OK;
  if (st != TRI_OK) out->len = before;
  pcre2_match_data_free(e.match);
  tri_bpe_scratch_free(&e.scratch);
  return st;
}

/* --- decoding and facts --- */

tri_str tri_tokenizer_piece(const tri_tokenizer *t, int32_t id, bool special) {
  if (id < 0 || (size_t)id >= t->pieces.n || (!special && t->pieces.types[id] == TRI_TOKEN_CONTROL))
    return (tri_str){"", 0};
  return tri_pieces_at(&t->pieces, (size_t)id);
}

size_t tri_tokenizer_size(const tri_tokenizer *t) { return t->pieces.n; }
int32_t tri_tokenizer_bos(const tri_tokenizer *t) { return t->bos; }
bool tri_tokenizer_adds_bos(const tri_tokenizer *t) { return t->add_bos; }

bool tri_tokenizer_is_end(const tri_tokenizer *t, int32_t id) {
  for (int i = 0; i < t->n_ends; i++)
    if (t->ends[i] == id) return true;
  return false;
}
