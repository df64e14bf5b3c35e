/* SPDX-License-Identifier: MIT */
#include "engine/sentence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "engine/show.h"
#include "engine/utf8.h"

/* No token spans two characters that stand side by side in none: there a text can be cut, and each run taken alone, without
 * another result. The pairs that do are kept as bits by a hash; a collision only makes a run longer. */
enum { JOINT_BITS = 18, JOINT_BYTES = 1 << (JOINT_BITS - 3) };
static const double UNKNOWN_PENALTY = 10; /* below the lowest score, as sentencepiece's unigram_model.cc has it */

typedef struct tri_sentence_step {
  double score; /* of the best way here */
  uint32_t start, end; /* where its last token begins; on the best way of all, where the next one ends */
  int32_t id;     /* of the last token, -1: a character that no token has */
} step;

struct tri_sentence {
  const tri_pieces *pieces;
  tri_bpe *bpe;     /* PIECES */
  float *scores;    /* UNIGRAM: [tokens] */
  double unknown;   /* the score of a character that no token has */
  int32_t unk, bytes[256], ascii[128];
  bool splits;
  uint8_t joints[JOINT_BYTES];
};

/* --- characters --- */

/* The bytes of the character at the start of a text, or of what can't be one. */
static size_t char_bytes(const uint8_t *text, size_t len) {
  if (*text < 0x80) return 1;
  int n = tri_utf8_next(text, len);
  return n > 0 ? (size_t)n : n < 0 ? (size_t)-n : len;
}

static inline uint32_t joint(const uint8_t *left, size_t n_left, const uint8_t *right, size_t n_right) {
  uint32_t a = 0, b = 0;
  memcpy(&a, left, n_left), memcpy(&b, right, n_right);
  uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
  return (uint32_t)(h >> (64 - JOINT_BITS));
}

static void mark_joints(tri_sentence *s, tri_str word) {
  const uint8_t *text = (const uint8_t *)word.data;
  size_t n = word.len ? char_bytes(text, word.len) : 0;
  for (size_t at = n, before = n; at < word.len; at += before = n) {
    n = char_bytes(text + at, word.len - at);
    uint32_t bit = joint(text + at - before, before, text + at, n);
    s->joints[bit / 8] |= (uint8_t)(1 << bit % 8);
  }
}

static inline int32_t char_token(const tri_sentence *s, const uint8_t *text, size_t n) {
  return *text < 0x80 ? s->ascii[*text] : tri_pieces_word(s->pieces, text, n);
}

/* --- opening --- */

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

tri_status tri_sentence_add_merge(tri_bpe *bpe, const tri_pieces *pieces, tri_str merge, size_t rank, tri_error *err) {
  const char *blank = merge.len ? memchr(merge.data, ' ', merge.len) : NULL;
  size_t n = blank ? (size_t)(blank - merge.data) : merge.len;
  int32_t left = tri_pieces_spelled(pieces, (tri_str){merge.data, n});
  int32_t right = blank ? tri_pieces_spelled(pieces, (tri_str){blank + 1, merge.len - n - 1}) : -1;
  int32_t merged = -1;
  if (left >= 0 && right >= 0 && !join(pieces, left, right, &merged))
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for merges");
  if (merged < 0)
    return tri_status_fail(err, TRI_E_FORMAT, "merge %zu, \"%s\", is not two tokens that join to a third", rank, TRI_SHOW(merge));
  tri_bpe_add(bpe, left, right, (uint32_t)rank, merged);
  return TRI_OK;
}

typedef struct scored {
  float score;
  int32_t id;
} scored;

static int by_score(const void *a, const void *b) {
  const scored *x = a, *y = b;
  return x->score != y->score ? (x->score < y->score) - (x->score > y->score) : (x->id > y->id) - (x->id < y->id);
}

/* The two tokens of each way to cut a word are a rule at the word's rank; counts them, and adds them where there is a list. */
static size_t cut_word(tri_bpe *bpe, const tri_pieces *p, size_t id, uint32_t rank) {
  tri_str word = tri_pieces_at(p, id);
  const uint8_t *text = (const uint8_t *)word.data;
  size_t n = 0;
  for (size_t at = 0; (at += char_bytes(text + at, word.len - at)) < word.len;) {
    int32_t left = tri_pieces_word(p, text, at), right = left < 0 ? -1 : tri_pieces_word(p, text + at, word.len - at);
    if (right < 0) continue;
    n++;
    if (bpe) tri_bpe_add(bpe, left, right, rank, (int32_t)id);
  }
  return n;
}

/* SentencePiece's BPE has no list of merges: two adjacent tokens that join to a third may merge, those of the greatest score
 * first, the leftmost of equals (sentencepiece, bpe_model.cc). */
static tri_status add_scored(tri_sentence *s, const tri_vocab *v, tri_error *err) {
  const tri_pieces *p = s->pieces;
  scored *order = malloc(p->n * sizeof *order);
  if (!order) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for scores");
  size_t n = 0, n_rules = 0;
  for (size_t id = 0; id < p->n; id++) {
    tri_str word = tri_pieces_at(p, id);
    if (p->types[id] != TRI_TOKEN_NORMAL || tri_pieces_word(p, (const uint8_t *)word.data, word.len) != (int32_t)id) continue;
    order[n++] = (scored){v->scores[id], (int32_t)id};
    n_rules += cut_word(NULL, p, id, 0);
  }
  qsort(order, n, sizeof *order, by_score);
  tri_status status = tri_bpe_create(&s->bpe, n_rules, err);
  for (size_t i = 0, rank = 0; i < n && status == TRI_OK; i++) {
    if (i && order[i].score != order[i - 1].score) rank = i;
    cut_word(s->bpe, p, (size_t)order[i].id, (uint32_t)rank);
  }
  free(order);
  return status;
}

static tri_status add_merges(tri_sentence *s, const tri_vocab *v, tri_error *err) {
  tri_status status = tri_bpe_create(&s->bpe, v->n_merges, err);
  for (size_t i = 0; status == TRI_OK && i < v->n_merges; i++)
    status = tri_sentence_add_merge(s->bpe, s->pieces, v->merges[i], i, err);
  return status;
}

static tri_status copy_scores(tri_sentence *s, const tri_vocab *v, tri_error *err) {
  if (!(s->scores = malloc(v->n_tokens * sizeof *s->scores))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for scores");
  memcpy(s->scores, v->scores, v->n_tokens * sizeof *s->scores);
  double least = 0;
  for (size_t i = 0; i < v->n_tokens; i++)
    if (s->pieces->types[i] == TRI_TOKEN_NORMAL && v->scores[i] < least) least = v->scores[i];
  s->unknown = least - UNKNOWN_PENALTY;
  return TRI_OK;
}

static tri_status build(tri_sentence *s, const tri_vocab *v, tri_error *err) {
  if (!v->scores) return tri_status_fail(err, TRI_E_FORMAT, "a SentencePiece model without scores");
  for (size_t i = 0; i < v->n_tokens; i++)
    if (!isfinite(v->scores[i])) return tri_status_fail(err, TRI_E_FORMAT, "the score of token %zu is no number", i);
  if (v->unk >= (int64_t)v->n_tokens) return tri_status_fail(err, TRI_E_FORMAT, "unknown token %d is not one of %zu", v->unk, v->n_tokens);
  memset(s->bytes, 0xff, sizeof s->bytes);
  for (size_t i = 0; i < v->n_tokens; i++) {
    int byte = v->types[i] == TRI_TOKEN_BYTE ? tri_pieces_byte(v->tokens[i]) : -1;
    if (byte >= 0 && s->bytes[byte] < 0) s->bytes[byte] = (int32_t)i;
    if (s->pieces->types[i] == TRI_TOKEN_NORMAL) mark_joints(s, tri_pieces_at(s->pieces, i));
  }
  for (int c = 0; c < 128; c++) s->ascii[c] = tri_pieces_word(s->pieces, &(uint8_t){(uint8_t)c}, 1);
  s->unk = v->unk, s->splits = v->splits;
  if (v->model == TRI_VOCAB_UNIGRAM) return copy_scores(s, v, err);
  return v->n_merges ? add_merges(s, v, err) : add_scored(s, v, err);
}

tri_status tri_sentence_open(tri_sentence **out, const tri_vocab *v, const tri_pieces *pieces, tri_error *err) {
  tri_sentence *s = calloc(1, sizeof *s);
  if (!s) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the tokenizer");
  s->pieces = pieces;
  tri_status status = build(s, v, err);
  if (status != TRI_OK) return tri_sentence_close(&s), status;
  *out = s;
  return TRI_OK;
}

void tri_sentence_close(tri_sentence **s) {
  if (!*s) return;
  tri_bpe_destroy(&(*s)->bpe);
  free((*s)->scores);
  free(*s);
  *s = NULL;
}

/* --- encoding --- */

typedef struct encoder {
  const tri_sentence *s;
  tri_sentence_scratch *scratch;
  tri_ids *out;
  bool after_unknown; /* the last id is the unknown token */
} encoder;

void tri_sentence_scratch_free(tri_sentence_scratch *s) {
  tri_bpe_scratch_free(&s->bpe);
  free(s->steps);
  *s = (tri_sentence_scratch){0};
}

static tri_status put(encoder *e, int32_t id) {
  e->after_unknown = false;
  return tri_ids_push(e->out, id);
}

static tri_status put_unknown(encoder *e, const uint8_t *text, size_t n) {
  const tri_sentence *s = e->s;
  bool spelled = true;
  for (size_t i = 0; i < n; i++) spelled = spelled && s->bytes[text[i]] >= 0;
  tri_status status = TRI_OK;
  for (size_t i = 0; spelled && i < n && status == TRI_OK; i++) status = put(e, s->bytes[text[i]]);
  if (spelled || s->unk < 0 || e->after_unknown) return status;
  status = put(e, s->unk);
  e->after_unknown = true;
  return status;
}

static bool grow_steps(tri_sentence_scratch *x, size_t n) {
  if (n <= x->n_steps) return true;
  free(x->steps);
  x->n_steps = 0;
  size_t room = n < 256 ? 256 : n;
  if (!(x->steps = malloc(room * sizeof *x->steps))) return false;
  x->n_steps = room;
  return true;
}

/* From each place that a character begins at, every token that begins there; of ways to the same place the best stays. */
static void search(const tri_sentence *s, step *steps, const uint8_t *text, size_t len) {
  size_t longest = s->pieces->longest_word;
  for (size_t i = 0; i <= len; i++) steps[i] = (step){.score = i ? -INFINITY : 0};
  for (size_t at = 0, next; at < len; at = next) {
    next = at + char_bytes(text + at, len - at);
    for (size_t end = next;; end += char_bytes(text + end, len - end)) {
      int32_t id = tri_pieces_word(s->pieces, text + at, end - at);
      double score = steps[at].score + (id >= 0 ? (double)s->scores[id] : s->unknown);
      if ((id >= 0 || end == next) && score > steps[end].score) steps[end] = (step){.score = score, .start = (uint32_t)at, .id = id};
      if (end >= len || end - at >= longest) break;
    }
  }
}

/* Viterbi's search for the way of the greatest score through a run of characters; of equal ones that of the longest last token. */
static tri_status encode_unigram(encoder *e, const uint8_t *text, size_t len) {
  if (!grow_steps(e->scratch, len + 1)) return TRI_E_NOMEM;
  step *steps = e->scratch->steps;
  search(e->s, steps, text, len);
  for (size_t at = len; at; at = steps[at].start) steps[steps[at].start].end = (uint32_t)at;
  tri_status status = TRI_OK;
  for (size_t at = 0, end; at < len && status == TRI_OK; at = end) {
    end = steps[at].end;
    status = steps[end].id >= 0 ? put(e, steps[end].id) : put_unknown(e, text + at, end - at);
  }
  return status;
}

static tri_status encode_bpe(encoder *e, size_t n_symbols) {
  e->after_unknown = false;
  return tri_bpe_merge(e->s->bpe, &e->scratch->bpe, n_symbols, e->out);
}

/* The bytes of the run at the start of a text, whose n characters' own tokens go to `symbols` where it is given. It ends where no
 * token goes on, and for BPE before a character that isn't a token, as rules are between tokens. */
static size_t find_run(const tri_sentence *s, const uint8_t *text, size_t len, int32_t *symbols, size_t *n) {
  size_t at = 0, before = 0;
  for (*n = 0; at < len; at += before, ++*n) {
    size_t size = char_bytes(text + at, len - at);
    uint32_t bit = at ? joint(text + at - before, before, text + at, size) : 0;
    if (at && (!(s->joints[bit / 8] >> bit % 8 & 1) || (s->splits && text[at] == ' '))) break;
    if (symbols && (symbols[*n] = char_token(s, text + at, size)) < 0) break;
    before = size;
  }
  return at;
}

tri_status tri_sentence_encode(const tri_sentence *s, tri_sentence_scratch *scratch, const uint8_t *text, size_t len, tri_ids *out) {
  encoder e = {.s = s, .scratch = scratch, .out = out};
  if (!len) return TRI_OK;
  int32_t *symbols = s->bpe ? tri_bpe_symbols(&scratch->bpe, len) : NULL;
  tri_status status = s->bpe && !symbols ? TRI_E_NOMEM : TRI_OK;
  for (size_t at = 0, n; at < len && status == TRI_OK;) {
    size_t run = find_run(s, text + at, len - at, symbols, &n);
    if (!run) {
      run = char_bytes(text + at, len - at);
      status = put_unknown(&e, text + at, run);
    } else if (s->bpe) {
      status = encode_bpe(&e, n);
    } else {
      status = encode_unigram(&e, text + at, run);
    }
    at += run;
  }
  return status;
}
