/* SPDX-License-Identifier: MIT */
#include "engine/convert_out.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/i2s.h"

/* Models of real shapes with random weights. Every value is a function of (seed, tensor, place), so the bytes
 * don't depend on how they are cut into chunks. */

static const struct dummy {
  const char *name, *arch;
  int32_t d, layers, heads, kv, hd, ffn, vocab, context;
  float rope_theta;
  bool tied;
} dummies[] = {
    {"bitnet-large", "bitnet", 1536, 24, 16, 16, 96, 4096, 32002, 2048, 10000, true},
    {"bitnet-3b", "bitnet", 3200, 26, 32, 32, 100, 8640, 32002, 2048, 10000, true},
    {"bitnet-2b", "bitnet-b1.58", 2560, 30, 20, 5, 128, 6912, 128256, 4096, 500000, true},
    {"llama3-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, 8192, 500000, false},
    {"falcon3-1b", "llama", 2048, 18, 8, 4, 256, 8192, 131072, 8192, 1000042, false},
    {"falcon3-3b", "llama", 3072, 22, 12, 4, 256, 9216, 131072, 32768, 1000042, false},
    {"falcon3-7b", "llama", 3072, 28, 12, 4, 256, 23040, 131072, 32768, 1000042, false},
    {"falcon3-10b", "llama", 3072, 40, 12, 4, 256, 23040, 131072, 32768, 1000042, false},
    {"falcon-e-1b", "llama", 2048, 24, 16, 2, 128, 8192, 32768, 32768, 1000042, false},
    {"falcon-e-3b", "llama", 2048, 32, 16, 2, 128, 13312, 32768, 32768, 1000042, false},
    {"trilm-4b", "llama", 3072, 30, 24, 24, 128, 9216, 50688, 2048, 10000, false},
};
enum { DUMMIES = sizeof dummies / sizeof *dummies };

const char *tri_convert_dummy_name(size_t i) { return i < DUMMIES ? dummies[i].name : NULL; }

static tri_shape shape_of(const struct dummy *d) {
  tri_shape s = {.d = d->d, .n_layers = d->layers, .n_heads = d->heads, .n_kv = d->kv, .hd = d->hd, .ffn = d->ffn, .vocab = d->vocab,
                 .context = d->context, .eps = 1e-5f, .rope_theta = d->rope_theta, .rope_scale = 1, .tied = d->tied};
  tri_shape_set_arch(&s, (tri_str){d->arch, strlen(d->arch)});
  return s;
}

static tri_status unknown_shape(const char *name, tri_error *err) {
  char known[256] = "";
  for (size_t i = 0; i < DUMMIES; i++)
    snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i == 0 ? "" : i + 1 < DUMMIES ? ", " : " and ", dummies[i].name);
  return tri_status_fail(err, TRI_E_INVALID, "no shape \"%s\"; known are %s", name, known);
}

/* The n-th output of splitmix64 (Steele, Lea, Flood 2014) from `key`. */
static uint64_t random_at(uint64_t key, uint64_t n) {
  uint64_t z = key + (n + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* --- weights --- */

enum { QUADS = 81 }; /* bytes of four codes 0, 1, 2 */

static void fill_quads(uint8_t quads[QUADS]) {
  for (int i = 0; i < QUADS; i++) quads[i] = (uint8_t)(i / 27 << 6 | i / 9 % 3 << 4 | i / 3 % 3 << 2 | i % 3);
}

typedef struct linear_source {
  uint64_t key;
  uint8_t *codes; /* scratch for TRI_TERNARY_ROWS rows in I2_S */
} linear_source;

/* The weights are made as I2_S has them, four bytes of codes from one random number. */
static tri_status put_rows(void *arg, const tri_ternary_form *f, size_t first, size_t last, const float *scales, int8_t *trits,
                           uint8_t *tensor, tri_error *err) {
  const linear_source *from = arg;
  uint8_t quads[QUADS], *codes = f->type == TRI_TYPE_I2_S ? tensor + first * f->k / 4 : from->codes;
  uint64_t word = (uint64_t)first * f->k / 16;
  size_t n = (last - first) * f->k;
  (void)err;
  fill_quads(quads);
  for (size_t i = 0; i < n / 16; i++) {
    uint64_t r = random_at(from->key, word + i);
    for (size_t b = 0; b < 4; b++, r >>= 16) codes[4 * i + b] = quads[(r & 0xffff) * QUADS >> 16];
  }
  if (f->type == TRI_TYPE_I2_S) return TRI_OK;
  tri_i2s_trits(codes, n, trits);
  tri_ternary_put(f, first, last, trits, scales, tensor);
  return TRI_OK;
}

/* Of 2/3 variance a trit, so that sums over k keep the size of their inputs. */
static float dummy_scale(size_t k) { return 1 / sqrtf((float)k * 2 / 3); }

static tri_status write_linear(tri_convert_out *c, const tri_convert_tensor *t, uint64_t key, tri_error *err) {
  linear_source from = {key, malloc(TRI_TERNARY_ROWS * (size_t)t->k / 4)};
  if (!from.codes) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for tensor %s", t->name);
  tri_status status = tri_convert_sink_linear(&c->sink, t->name, t->form, dummy_scale((size_t)t->k), NULL, put_rows, &from, err);
  free(from.codes);
  return status;
}

/* Near normal: the sum of four uniform numbers; variance 1. */
static float normal_at(uint64_t key, uint64_t n) {
  uint64_t r = random_at(key, n);
  int32_t sum =
      (int32_t)(r & 0xffff) + (int32_t)(r >> 16 & 0xffff) + (int32_t)(r >> 32 & 0xffff) + (int32_t)(r >> 48);
  return (float)(sum - 2 * 0xffff) * (1.7320508f / 0xffff);
}

static tri_status write_floats(tri_convert_out *c, const tri_convert_tensor *t, uint64_t key, float *chunk,
                               tri_error *err) {
  tri_status status = TRI_OK;
  for (uint64_t at = 0; at < t->m * t->k && status == TRI_OK;) {
    uint64_t left = t->m * t->k - at;
    size_t n = left < TRI_CONVERT_CHUNK ? (size_t)left : TRI_CONVERT_CHUNK;
    for (size_t i = 0; i < n; i++) chunk[i] = t->vector ? 1 : 0.02f * normal_at(key, at + i);
    status = tri_convert_out_floats(c, t, chunk, n, err);
    at += n;
  }
  return status;
}

/* The number that stands for a tensor's values: its place in the file, but a head that is the embedding in another type has
 * the embedding's, and then the tensors behind it are as in a file without it. */
static size_t values_of(const tri_convert_out *c, size_t i) {
  bool extra = c->shape.tied && strcmp(tri_convert_out_tensor(c, 2).name, "output.weight") == 0;
  return !extra || i < 2 ? i : i == 2 ? 0 : i - 1;
}

static tri_status write_all(tri_convert_out *c, const char *path, const tri_vocab *vocab, uint64_t seed,
                            tri_error *err) {
  float *chunk = malloc(TRI_CONVERT_CHUNK * sizeof *chunk);
  if (!chunk) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  c->scales = calloc(tri_convert_out_count(c), sizeof *c->scales);
  for (size_t i = 0; i < tri_convert_out_count(c) && c->scales; i++) {
    tri_convert_tensor t = tri_convert_out_tensor(c, i);
    if (t.form) c->scales[c->n_scales++] = dummy_scale((size_t)t.k);
  }
  tri_status status = tri_convert_out_begin(c, path, vocab, err);
  free(c->scales), c->scales = NULL;
  if (status != TRI_OK) return free(chunk), status;
  for (size_t i = 0; i < tri_convert_out_count(c) && status == TRI_OK; i++) {
    tri_convert_tensor t = tri_convert_out_tensor(c, i);
    uint64_t key = random_at(seed, values_of(c, i));
    status = t.form ? write_linear(c, &t, key, err) : write_floats(c, &t, key, chunk, err);
  }
  free(chunk);
  return tri_convert_out_end(c, status, err);
}

/* --- tokenizer --- */

/* A byte in GPT-2's alphabet: itself where it is printable, else the next free code point from U+0100
 * (`spare`). */
static size_t spell_byte(int byte, int *spare, char out[2]) {
  bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
  int point = itself ? byte : (*spare)++;
  if (point < 0x80) return out[0] = (char)point, 1;
  out[0] = (char)(0xc0 | point >> 6), out[1] = (char)(0x80 | (point & 0x3f));
  return 2;
}

/* One token a byte, BOS and EOS at the end, fillers between: any text works, at one token a byte. */
static tri_status make_vocab(tri_vocab *v, size_t n, tri_error *err) {
  enum { LONGEST = 24 };
  char *text = malloc(n * LONGEST);
  *v = (tri_vocab){
      .n_tokens = n, .bos = (int32_t)n - 2, .eos = (int32_t)n - 1, .eot = -1, .unk = -1, .pre = "llama-bpe", .add_bos = true,
      .ignore_merges = true, .arena = text};
  v->tokens = calloc(n, sizeof *v->tokens), v->types = calloc(n, sizeof *v->types),
  v->merges = calloc(1, sizeof *v->merges);
  if (!text || !v->tokens || !v->types || !v->merges)
    return tri_vocab_free(v), tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  int spare = 0x100;
  for (size_t i = 0; i < n; i++, text += LONGEST) {
    v->tokens[i].data = text, v->types[i] = i < 256     ? TRI_TOKEN_NORMAL
                                            : i < n - 2 ? TRI_TOKEN_UNUSED
                                                        : TRI_TOKEN_CONTROL;
    if (i < 256)
      v->tokens[i].len = spell_byte((int)i, &spare, text);
    else if (i < n - 2)
      v->tokens[i].len = (size_t)snprintf(text, LONGEST, "<|fill_%zu|>", i);
    else
      v->tokens[i].len = (size_t)snprintf(text, LONGEST, "<|%s_of_text|>", i == n - 2 ? "begin" : "end");
  }
  return TRI_OK;
}

tri_status tri_convert_dummy(const char *shape, const char *out_path, uint32_t embedding_type, int layers, int vocab_size,
                             uint64_t seed, const tri_convert_options *o, tri_error *err) {
  const struct dummy *d = NULL;
  for (size_t i = 0; i < DUMMIES; i++)
    if (strcmp(shape, dummies[i].name) == 0) d = &dummies[i];
  if (!d) return unknown_shape(shape, err);
  if (layers < 0 || layers > 1024)
    return tri_status_fail(err, TRI_E_INVALID, "%d layers; 1 to 1024, or 0 for the shape's own, expected",
                           layers);
  if (vocab_size != 0 && (vocab_size < TRI_CONVERT_DUMMY_VOCAB || vocab_size > TRI_VOCAB_TOKENS))
    return tri_status_fail(err, TRI_E_INVALID, "%d tokens; %d to %d, or 0 for the shape's own, expected", vocab_size,
                           TRI_CONVERT_DUMMY_VOCAB, TRI_VOCAB_TOKENS);
  tri_convert_out c = {
      .kind = {.arch = d->arch}, .shape = shape_of(d), .options = o ? *o : (tri_convert_options){.linear_type = TRI_TYPE_I2_S}};
  c.options.embedding_type = embedding_type;
  if (layers > 0) c.shape.n_layers = layers;
  if (vocab_size > 0) c.shape.vocab = vocab_size;
  snprintf(c.name, sizeof c.name, "dummy %s, %d layers, seed %llu", d->name, c.shape.n_layers,
           (unsigned long long)seed);
  tri_vocab vocab;
  tri_status status = tri_convert_out_plan(&c, out_path, err);
  if (status == TRI_OK) status = make_vocab(&vocab, (size_t)c.shape.vocab, err);
  if (status != TRI_OK) return status;
  status = write_all(&c, out_path, &vocab, seed, err);
  tri_vocab_free(&vocab);
  return status;
}
