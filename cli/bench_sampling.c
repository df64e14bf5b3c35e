/* SPDX-License-Identifier: MIT */
#include "cli/bench.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "engine/draw.h"

/* What drawing a token costs over a vocabulary of the size of Llama 3's, made up of syllables and what JSON is made of. */

enum { VOCAB = 128256, TOKENS = 200, TEXT_BYTES = 4 << 20 };

/* Times of one way to draw, in µs. */
typedef struct series {
  double total, most;
  int n;
} series;

typedef struct bench {
  tri_tokenizer *tokenizer;
  tri_lexicon *lexicon;
  double lexicon_ms;
  tri_sampler *sampler;
  float *logits;    /* [VOCAB] */
  uint64_t random;
  json_t *rows;     /* NULL: print as text */
} bench;

static uint64_t next_random(bench *b) {
  b->random = b->random * 6364136223846793005u + 1442695040888963407u;
  return b->random >> 20;
}

/* --- the vocabulary --- */

/* A byte in GPT-2's printable alphabet, which spells byte-level tokens: itself, or the next free character from U+0100. */
static char *spell(char *out, unsigned byte) {
  unsigned c = 256, character = byte;
  for (unsigned x = 0; x <= byte; x++) {
    bool printable = (x > 32 && x < 127) || (x > 160 && x != 173);
    if (!printable && x == byte) character = c;
    c += !printable;
  }
  if (character < 128) *out++ = (char)character;
  else *out++ = (char)(0xc0 | character >> 6), *out++ = (char)(0x80 | (character & 63));
  return out;
}

/* Syllables, as often as not after a blank, or runs of digits and of JSON's signs. */
static char *make_word(bench *b, char *out) {
  static const char *const syllables[] = {"an", "be", "con", "der", "el", "for", "ing", "ka",
                                          "lo", "men", "no",  "or",  "pre", "re", "st", "ti"};
  static const char digits[] = "0123456789", signs[] = "\"{}[]:, \n";
  uint64_t kind = next_random(b) % 20;
  size_t n = 2 + next_random(b) % 3;
  if (kind < 2) {
    for (size_t i = 0; i < n; i++)
      out = spell(out, (unsigned char)(kind ? signs[next_random(b) % 9] : digits[next_random(b) % 10]));
    return out;
  }
  if (kind % 2) out = spell(out, ' ');
  for (size_t i = 0; i < n; i++) out = stpcpy(out, syllables[next_random(b) % 16]);
  return out;
}

static tri_status make_tokenizer(bench *b, tri_error *err) {
  tri_vocab v = {.n_tokens = VOCAB, .pre = "llama-bpe", .bos = -1, .eos = VOCAB - 1, .eot = -1};
  char *at = v.arena = malloc(TEXT_BYTES);
  v.tokens = calloc(VOCAB, sizeof *v.tokens);
  v.types = calloc(VOCAB, sizeof *v.types);
  v.merges = calloc(1, sizeof *v.merges);
  if (!at || !v.tokens || !v.types || !v.merges) return tri_vocab_free(&v), tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  for (int32_t id = 0; id < VOCAB; id++) {
    char *start = at;
    v.types[id] = id == v.eos ? TRI_TOKEN_CONTROL : TRI_TOKEN_NORMAL;
    if (id < 256) at = spell(at, (unsigned)id);
    else at = id == v.eos ? stpcpy(at, "<|end_of_text|>") : make_word(b, at);
    v.tokens[id] = (tri_str){start, (size_t)(at - start)};
  }
  tri_status status = tri_tokenizer_open(&b->tokenizer, &v, err);
  if (status != TRI_OK) tri_vocab_free(&v);
  return status;
}

/* --- timing --- */

static void report(bench *b, const char *name, const series *s) {
  double mean = s->total / s->n;
  json_t *row = json_pack("{s:s, s:f, s:f, s:i}", "name", name, "mean_us", mean, "most_us", s->most, "tokens", s->n);
  if (b->rows) json_array_append(b->rows, row);
  else printf("%-44s %9.1f %9.1f %7d\n", name, mean, s->most, s->n);
  json_decref(row);
}

static void add(series *s, int64_t start_ns) {
  double us = (double)(tri_clock_ns() - start_ns) / 1e3;
  s->total += us, s->n++;
  if (us > s->most) s->most = us;
}

/* A bell of improbable tokens; unless flat also, as a model has it, some dozens that hold nearly all of the probability. */
static void make_logits(bench *b, bool flat) {
  for (size_t i = 0; i < VOCAB; i++) {
    b->logits[i] = -8;
    for (int k = 0; k < 4; k++) b->logits[i] += (float)(next_random(b) & 0xffff) * 0x1p-14f;
  }
  for (int i = 0; i < 50 && !flat; i++) b->logits[next_random(b) % VOCAB] = 10 + (float)(next_random(b) & 0xffff) * 0x1p-13f;
}

static tri_status time_draws(bench *b, const char *name, const tri_sampler_params *p, bool flat, tri_error *err) {
  tri_draw d = {0};
  series s = {0};
  int32_t history[TOKENS + 64] = {0};
  tri_sample sample, top[TRI_SAMPLER_TOP];
  size_t n_top;
  tri_status status = TRI_OK;
  tri_draw_begin(&d, p, 64, NULL, 0, &b->lexicon, b->tokenizer, VOCAB, 1);
  for (size_t i = 0; i < TOKENS && status == TRI_OK; i++) {
    if (i % 20 == 0) make_logits(b, flat);
    int64_t start = tri_clock_ns();
    status = tri_draw_next(&d, b->sampler, VOCAB, b->logits, history, 64 + i, &sample, top, &n_top, err);
    add(&s, start);
    if (status == TRI_OK) history[64 + i] = sample.token;
  }
  tri_draw_end(&d);
  if (status == TRI_OK) report(b, name, &s);
  return status;
}

/* Answers from random logits, with a push for what closes after a while; the sets of tokens are timed apart from the draws. New:
 * the grammar was never in that state before. */
static tri_status time_grammar(bench *b, const char *name, tri_lang lang, const char *text, tri_error *err) {
  tri_constraint *c = NULL;
  tri_buf gbnf = {0};
  series all = {0};
  tri_ids ids = {0};
  tri_sampler_params p = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};
  tri_status status = tri_draw_grammar(lang, text, strlen(text), &gbnf, err);
  if (status == TRI_OK) status = tri_constraint_create(&c, (char *)gbnf.data, gbnf.len, b->lexicon, TRI_AUTOMATON_BYTES, err);
  while (status == TRI_OK && all.n < TOKENS) {
    const uint32_t *allowed;
    make_logits(b, true);
    if (ids.len > 30) b->logits['"'] += 8, b->logits[']'] += 8, b->logits['}'] += 8, b->logits[VOCAB - 1] += 20;
    int64_t start = tri_clock_ns();
    status = tri_constraint_allowed(c, ids.data, ids.len, &allowed, err);
    add(&all, start);
    if (status != TRI_OK) break;
    tri_sample s = tri_sampler_pick(b->sampler, &p, allowed, b->logits, ids.data, ids.len, ids.len + (size_t)all.n);
    if (s.token == VOCAB - 1) ids.len = 0;
    else if (tri_ids_push(&ids, s.token) != TRI_OK) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  }
  if (status == TRI_OK) report(b, name, &all);
  tri_constraint_destroy(&c);
  tri_buf_free(&gbnf);
  tri_ids_free(&ids);
  return status;
}

static tri_status time_all(bench *b, tri_error *err) {
  static const char schema[] =
      "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}, \"tags\": {\"type\": \"array\", \"items\": {\"enum\": "
      "[\"an\", \"bender\"]}}, \"child\": {\"anyOf\": [{\"$ref\": \"#\"}, {\"type\": \"null\"}]}}, \"required\": "
      "[\"name\", \"tags\", \"child\"], \"additionalProperties\": false}";
  tri_sampler_params p = TRI_SAMPLER_DEFAULTS, greedy = p, open = p, every = p;
  greedy.temperature = 0, greedy.min_p = 0;
  open.top_k = 0, open.min_p = 0;
  every.top_k = 0, every.min_p = 0.001f, every.typical_p = 0.95f, every.repeat_penalty = 1.1f, every.frequency_penalty = 0.1f;
  every.presence_penalty = 0.1f, every.top = TRI_SAMPLER_TOP, every.n_bias = TRI_SAMPLER_BIASES;
  for (int32_t i = 0; i < TRI_SAMPLER_BIASES; i++) every.bias_tokens[i] = i * 400, every.bias[i] = 1;
  tri_status status = time_draws(b, "greedy", &greedy, false, err);
  if (status == TRI_OK) status = time_draws(b, "defaults (top-k 40, min-p, top-p)", &p, false, err);
  if (status == TRI_OK) status = time_draws(b, "top-p over the whole vocabulary", &open, false, err);
  if (status == TRI_OK) status = time_draws(b, "the same, all tokens about as likely", &open, true, err);
  if (status == TRI_OK) status = time_draws(b, "everything but top-k, 20 logprobs", &every, false, err);
  if (status == TRI_OK) status = time_draws(b, "the same, all tokens about as likely", &every, true, err);
  if (status == TRI_OK) status = time_grammar(b, "grammar alone: any JSON", TRI_LANG_SCHEMA, "{}", err);
  if (status == TRI_OK) status = time_grammar(b, "grammar alone: a recursive schema", TRI_LANG_SCHEMA, schema, err);
  if (status == TRI_OK)
    status = time_grammar(b, "grammar alone: words of a to z and blanks", TRI_LANG_GBNF, "root ::= ([a-z]+ \" \"?){1,40} [\"\\]]", err);
  return status;
}

tri_status tri_bench_sampling(const tri_kernels *k, bool as_json, tri_error *err) {
  bench b = {.random = 1, .logits = malloc(VOCAB * sizeof(float)), .rows = as_json ? json_array() : NULL};
  tri_status status = b.logits ? tri_sampler_create(&b.sampler, VOCAB, k, err) : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = make_tokenizer(&b, err);
  int64_t start = tri_clock_ns();
  if (status == TRI_OK) status = tri_lexicon_create(&b.lexicon, b.tokenizer, VOCAB, err);
  b.lexicon_ms = (double)(tri_clock_ns() - start) / 1e6;
  if (status == TRI_OK && !as_json)
    printf("%d tokens, %s kernels; putting them in order, once for a model: %.0f ms\n\n%-44s %9s %9s %7s\n", VOCAB, k->name, b.lexicon_ms,
           "us a token", "mean", "most", "tokens");
  if (status == TRI_OK) status = time_all(&b, err);
  if (status == TRI_OK && as_json) {
    json_t *doc = json_pack("{s:i, s:s, s:f, s:O}", "vocab", VOCAB, "isa", k->name, "lexicon_ms", b.lexicon_ms, "rows", b.rows);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(doc);
  }
  json_decref(b.rows);
  tri_sampler_destroy(&b.sampler);
  tri_lexicon_destroy(&b.lexicon);
  tri_tokenizer_close(&b.tokenizer);
  free(b.logits);
  return status;
}
