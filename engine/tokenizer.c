/* SPDX-License-Identifier: MIT */
#include "engine/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "engine/added.h"
#include "engine/sentence.h"

struct tri_tokenizer {
  tri_vocab_model model;
  tri_pieces pieces;
  tri_normal normal;
  tri_added *added;      /* found in the text as it is */
  tri_added *normalized; /* found in its normal form */
  tri_words *words;      /* BYTES */
  tri_bpe *bpe;          /* BYTES */
  tri_sentence *sentence; /* the others */
  int32_t bytes[256];    /* BYTES: the token of each byte */
  int32_t ends[8];
  int n_ends;
  int32_t bos, eos;
  bool add_bos, add_eos, ignore_merges;
  char *chat_template;   /* or NULL */
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

static void add_end(tri_tokenizer *t, int32_t id) {
  if (id >= 0 && !tri_tokenizer_is_end(t, id)) t->ends[t->n_ends++] = id;
}

static void find_ends(tri_tokenizer *t, const tri_vocab *v) {
  static const char *const names[] = {"<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "</s>"};
  add_end(t, v->eos);
  add_end(t, v->eot);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    size_t len = strlen(names[i]), start, end;
    int32_t id = tri_added_find(t->added, (const uint8_t *)names[i], NULL, len, 0, true, &start, &end);
    if (id >= 0 && t->pieces.types[id] == TRI_TOKEN_CONTROL && tri_pieces_at(&t->pieces, (size_t)id).len == len)
      add_end(t, id);
  }
}

static tri_status build_bytes(tri_tokenizer *t, const tri_vocab *v, tri_error *err) {
  tri_words_list list;
  if (!tri_words_find(&list, (tri_str){v->pre, strlen(v->pre)}))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "pre-tokenizer \"%s\"; known are %s", v->pre, tri_words_names());
  tri_status st = tri_words_open(&t->words, &list, err);
  if (st == TRI_OK) st = tri_bpe_create(&t->bpe, v->n_merges, err);
  for (size_t i = 0; st == TRI_OK && i < v->n_merges; i++) st = tri_sentence_add_merge(t->bpe, &t->pieces, v->merges[i], i, err);
  if (st != TRI_OK) return st;
  for (int b = 0; b < 256; b++) {
    t->bytes[b] = tri_pieces_word(&t->pieces, &(uint8_t){(uint8_t)b}, 1);
    if (t->bytes[b] < 0)
      return tri_status_fail(err, TRI_E_FORMAT, "the vocabulary has no token for the byte 0x%02x", b);
  }
  return TRI_OK;
}

static tri_status build(tri_tokenizer *t, const tri_vocab *v, tri_error *err) {
  if (!v->n_tokens || v->n_tokens > TRI_VOCAB_TOKENS)
    return tri_status_fail(err, TRI_E_LIMIT, "a vocabulary of %zu tokens; 1 to %d are supported", v->n_tokens,
                           TRI_VOCAB_TOKENS);
  if (v->bos >= (int64_t)v->n_tokens || v->eos >= (int64_t)v->n_tokens || v->eot >= (int64_t)v->n_tokens)
    return tri_status_fail(err, TRI_E_FORMAT, "BOS %d, EOS %d or end of turn %d is not one of %zu tokens",
                           v->bos, v->eos, v->eot, v->n_tokens);
  t->model = v->model, t->normal = tri_normal_of(v);
  tri_status st = tri_pieces_open(&t->pieces, v, err);
  if (st == TRI_OK) st = tri_added_open(&t->added, v, &t->normal, false, err);
  if (st == TRI_OK) st = tri_added_open(&t->normalized, v, &t->normal, true, err);
  if (st == TRI_OK) st = v->model == TRI_VOCAB_BYTES ? build_bytes(t, v, err) : tri_sentence_open(&t->sentence, v, &t->pieces, err);
  if (st != TRI_OK) return st;
  find_ends(t, v);
  t->bos = v->bos, t->eos = v->eos;
  t->add_bos = v->add_bos, t->add_eos = v->add_eos;
  t->ignore_merges = v->ignore_merges;
  return TRI_OK;
}

tri_status tri_tokenizer_open(tri_tokenizer **out, tri_vocab *vocab, tri_error *err) {
  tri_tokenizer *t = calloc(1, sizeof *t);
  if (!t) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the tokenizer");
  tri_status st = build(t, vocab, err);
  if (st != TRI_OK) return tri_tokenizer_close(&t), st;
  t->chat_template = vocab->chat_template, vocab->chat_template = NULL;
  tri_vocab_free(vocab);
  *out = t;
  return TRI_OK;
}

void tri_tokenizer_close(tri_tokenizer **t) {
  if (!*t) return;
  tri_pieces_close(&(*t)->pieces);
  tri_added_close(&(*t)->added);
  tri_added_close(&(*t)->normalized);
  tri_words_close(&(*t)->words);
  tri_bpe_destroy(&(*t)->bpe);
  tri_sentence_close(&(*t)->sentence);
  free((*t)->chat_template);
  free(*t);
  *t = NULL;
}

/* --- encoding --- */

typedef struct encoder {
  const tri_tokenizer *t;
  tri_sentence_scratch scratch;
  tri_buf normal; /* a stretch of text in normal form */
  tri_ids *out;
  tri_error *err;
} encoder;

static tri_status checked(const encoder *e, tri_status status) {
  return status == TRI_OK ? TRI_OK : tri_status_fail(e->err, status, "out of memory for tokens");
}

static tri_status encode_word(void *arg, const uint8_t *bytes, size_t len) {
  encoder *e = arg;
  const tri_tokenizer *t = e->t;
  int32_t id = len == 1 ? t->bytes[*bytes] : t->ignore_merges ? tri_pieces_word(&t->pieces, bytes, len) : -1;
  if (id >= 0 && t->pieces.types[id] == TRI_TOKEN_NORMAL) return checked(e, tri_ids_push(e->out, id));
  int32_t *symbols = tri_bpe_symbols(&e->scratch.bpe, len);
  for (size_t i = 0; symbols && i < len; i++) symbols[i] = t->bytes[bytes[i]];
  return checked(e, symbols ? tri_bpe_merge(t->bpe, &e->scratch.bpe, len, e->out) : TRI_E_NOMEM);
}

/* Text without added tokens. PCRE2 sees only valid UTF-8, checked once here (its own check would run over the rest of the text at
 * every match); a byte outside of valid UTF-8 is a token of its own. */
static tri_status encode_text(encoder *e, const uint8_t *text, size_t len) {
  const tri_tokenizer *t = e->t;
  if (t->sentence) return checked(e, tri_sentence_encode(t->sentence, &e->scratch, text, len, e->out));
  tri_status status = TRI_OK;
  for (size_t at = 0, bad; at < len && status == TRI_OK;) {
    size_t n = tri_normal_valid(text + at, len - at, &bad);
    status = tri_words_cut(t->words, text + at, n, encode_word, e, e->err);
    for (at += n; bad && status == TRI_OK; at++, bad--) status = encode_word(e, text + at, 1);
  }
  return status;
}

static tri_status encode_between(encoder *e, const tri_added *added, const uint8_t *text, const uint8_t *plain, size_t len, bool special,
                                 bool raw);

/* A stretch between the added tokens of the text as it is. */
static tri_status encode_normal(encoder *e, const uint8_t *text, size_t len, bool first, bool special) {
  const tri_tokenizer *t = e->t;
  if (!len) return TRI_OK;
  if (!tri_normal_acts(&t->normal)) return encode_text(e, text, len);
  tri_buf_clear(&e->normal);
  tri_status status = checked(e, tri_normal_append(&t->normal, text, len, first, &e->normal));
  if (status != TRI_OK) return status;
  return tri_added_any(t->normalized) ? encode_between(e, t->normalized, e->normal.data, NULL, e->normal.len, special, false)
                                      : encode_text(e, e->normal.data, e->normal.len);
}

/* Added tokens become their ids; what lies between them goes on. */
static tri_status encode_between(encoder *e, const tri_added *added, const uint8_t *text, const uint8_t *plain, size_t len, bool special,
                                 bool raw) {
  size_t at = 0, start, end;
  for (int32_t id = 0; id >= 0; at = end) {
    id = tri_added_find(added, text, plain, len, at, special, &start, &end);
    if (id < 0) start = end = len;
    /* in a normal form it isn't known any more which bytes were plain */
    bool special_within = special && !(plain && start > at && memchr(plain + at, 1, start - at));
    tri_status status = raw ? encode_normal(e, text + at, start - at, at == 0, special_within) : encode_text(e, text + at, start - at);
    if (status == TRI_OK && id >= 0) status = checked(e, tri_ids_push(e->out, id));
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

static tri_status encode(const tri_tokenizer *t, const char *text, const uint8_t *plain, size_t len, bool special, tri_ids *out,
                         tri_error *err) {
  if (len > TRI_TOKENIZER_TEXT_BYTES)
    return tri_status_fail(err, TRI_E_LIMIT, "a text of %zu bytes, more than the limit of %d", len,
                           TRI_TOKENIZER_TEXT_BYTES);
  encoder e = {.t = t, .out = out, .err = err};
  size_t before = out->len;
  tri_status st = len ? encode_between(&e, t->added, (const uint8_t *)text, plain, len, special, true) : TRI_OK;
  if (st != TRI_OK) out->len = before;
  tri_buf_free(&e.normal);
  tri_sentence_scratch_free(&e.scratch);
  return st;
}

tri_status tri_tokenizer_encode(const tri_tokenizer *t, const char *text, size_t len, bool special,
                                tri_ids *out, tri_error *err) {
  return encode(t, text, NULL, len, special, out, err);
}

tri_status tri_tokenizer_encode_prompt(const tri_tokenizer *t, const char *text, const uint8_t *plain, size_t len, tri_ids *out,
                                       tri_error *err) {
  return encode(t, text, plain, len, true, out, err);
}

/* --- decoding and facts --- */

tri_str tri_tokenizer_piece(const tri_tokenizer *t, int32_t id, bool special) {
  const tri_pieces *p = &t->pieces;
  bool hidden = id < 0 || (size_t)id >= p->n ||
                (!special && (p->types[id] == TRI_TOKEN_CONTROL || p->types[id] == TRI_TOKEN_UNKNOWN));
  return hidden ? (tri_str){"", 0} : tri_pieces_at(p, (size_t)id);
}

void tri_tokenizer_decode(const tri_tokenizer *t, const int32_t *ids, size_t n, bool special, tri_buf *out) {
  size_t start = out->len;
  for (size_t i = 0; i < n; i++) {
    tri_str piece = tri_tokenizer_piece(t, ids[i], special);
    tri_buf_append(out, piece.data, piece.len);
  }
  if (!(t->normal.prefix & TRI_PREFIX_SPACE) || out->len == start || out->data[start] != ' ') return;
  memmove(out->data + start, out->data + start + 1, out->len - start); /* with its NUL */
  out->len--;
}

size_t tri_tokenizer_size(const tri_tokenizer *t) { return t->pieces.n; }
int32_t tri_tokenizer_bos(const tri_tokenizer *t) { return t->bos; }
const char *tri_tokenizer_chat_template(const tri_tokenizer *t) { return t->chat_template; }
int32_t tri_tokenizer_eos(const tri_tokenizer *t) { return t->eos; }
bool tri_tokenizer_adds_bos(const tri_tokenizer *t) { return t->add_bos; }
bool tri_tokenizer_adds_eos(const tri_tokenizer *t) { return t->add_eos; }
tri_token_type tri_tokenizer_type(const tri_tokenizer *t, int32_t id) {
  return id < 0 || (size_t)id >= t->pieces.n ? TRI_TOKEN_UNUSED : (tri_token_type)t->pieces.types[id];
}

bool tri_tokenizer_is_end(const tri_tokenizer *t, int32_t id) {
  for (int i = 0; i < t->n_ends; i++)
    if (t->ends[i] == id) return true;
  return false;
}
