/* SPDX-License-Identifier: MIT */
/* Ternary tensors in bitnet.cpp's three types: its own files, conversions between the types, and what is wrong with a file. */
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/convert.h"
#include "engine/single.h"
#include "kernels/i2s.h"
#include "tests/engine/paths.h"

#define DIR TRIREME_FIXTURES "/bitnetcpp-tiny-llama/"
enum { TOKENS = 48, VOCAB = 512 };

/* the kernel_config.ini that bitnet.cpp packed model-tl2.gguf with */
static const tri_tiles_given fixture_tiles[] = {
    {256, 256, {128, 96, 0}}, {128, 256, {128, 96, 0}}, {768, 256, {256, 96, 0}}, {256, 768, {128, 96, 32}}};
enum { FIXTURE_TILES = sizeof fixture_tiles / sizeof *fixture_tiles };

static tri_error err;

/* --- bitnet.cpp's files --- */

static tri_gguf *open_file(const char *path) {
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  return g;
}

static int8_t *read_trits(const tri_ternary *x) {
  int8_t *trits = malloc(x->form.m * x->form.k);
  assert_non_null(trits);
  for (size_t first = 0; first < x->form.m; first += TRI_TERNARY_ROWS) {
    size_t last = first + TRI_TERNARY_ROWS < x->form.m ? first + TRI_TERNARY_ROWS : x->form.m;
    assert_true(tri_ternary_rows(x, first, last, trits + first * x->form.k, NULL));
  }
  return trits;
}

static void tl2_of_bitnet_cpp_holds_the_weights_of_its_i2_s(void **state) {
  (void)state;
  tri_gguf *a = open_file(DIR "model-i2_s.gguf"), *b = open_file(DIR "model-tl2.gguf");
  int linears = 0;
  for (size_t i = 0; i < tri_gguf_tensor_count(a); i++) {
    tri_ternary x, y;
    const tri_gguf_tensor *s = tri_gguf_tensor_at(a, i), *t = tri_gguf_tensor_at(b, i);
    assert_true(s->name.len == t->name.len && memcmp(s->name.data, t->name.data, s->name.len) == 0);
    if (s->type != TRI_TYPE_I2_S) continue;
    assert_ok(tri_ternary_open(&x, a, s, NULL, 0, &err), err);
    assert_ok(tri_ternary_open(&y, b, t, fixture_tiles, FIXTURE_TILES, &err), err);
    assert_true(x.scale == y.scale && y.form.type == TRI_TYPE_TL2 && x.form.m == y.form.m && x.form.k == y.form.k);
    int8_t *left = read_trits(&x), *right = read_trits(&y);
    assert_memory_equal(left, right, x.form.m * x.form.k);
    free(left), free(right);
    linears++;
  }
  assert_int_equal(linears, 4 * 7);
  tri_gguf_close(&a), tri_gguf_close(&b);
}

/* --- conversions --- */

static tri_status convert(const char *in, const char *out, uint32_t type, const tri_tiles_given *tiles, size_t n) {
  tri_convert_options o = {.linear_type = type, .tiles = tiles, .n_tiles = n};
  if (strcmp(in, DIR "model-tl2.gguf") == 0) o.in_tiles = fixture_tiles, o.n_in_tiles = FIXTURE_TILES;
  return tri_convert_gguf(in, out, &o, &err);
}

/* Every tensor's bytes, except for the 28 after a scale. */
static void assert_same_tensors(const char *a, const char *b) {
  tri_gguf *x = open_file(a), *y = open_file(b);
  assert_int_equal(tri_gguf_tensor_count(x), tri_gguf_tensor_count(y));
  for (size_t i = 0; i < tri_gguf_tensor_count(x); i++) {
    const tri_gguf_tensor *s = tri_gguf_tensor_at(x, i), *t = tri_gguf_tensor_at(y, i);
    assert_true(s->type == t->type && s->bytes == t->bytes && s->name.len == t->name.len);
    assert_memory_equal(s->name.data, t->name.data, s->name.len);
    assert_memory_equal(s->dims, t->dims, sizeof s->dims);
    assert_memory_equal(s->data, t->data, s->bytes - (tri_ternary_is(s->type) ? 28 : 0));
  }
  tri_gguf_close(&x), tri_gguf_close(&y);
}

static void we_pack_tl2_as_bitnet_cpp_does(void **state) {
  (void)state;
  uint64_t file_type;
  assert_ok(convert(DIR "model-i2_s.gguf", paths[0], TRI_TYPE_TL2, fixture_tiles, FIXTURE_TILES), err);
  assert_same_tensors(paths[0], DIR "model-tl2.gguf");
  assert_ok(convert(DIR "model-tl2.gguf", paths[1], TRI_TYPE_TL2, NULL, 0), err); /* keeps its tiles */
  assert_same_file(paths[0], paths[1]);
  assert_ok(convert(paths[1], paths[2], TRI_TYPE_TL2, NULL, 0), err); /* from its own keys */
  assert_same_file(paths[1], paths[2]);
  tri_gguf *g = open_file(paths[0]);
  tri_str tiles;
  assert_true(tri_gguf_get_u64(g, "general.file_type", &file_type) && file_type == 39);
  assert_true(tri_gguf_get_str(g, "trireme.tl2.768x256", &tiles) && tiles.len == 6 && memcmp(tiles.data, "256,96", 6) == 0);
  tri_gguf_close(&g);
}

static void conversions_lose_nothing(void **state) {
  (void)state;
  static const tri_tiles_given odd[] = {{256, 256, {64, 192, 0}}, {768, 256, {32, 192, 0}}}, odd1[] = {{768, 256, {384, 16, 64}}};
  assert_ok(convert(DIR "model-i2_s.gguf", paths[0], TRI_TYPE_I2_S, NULL, 0), err); /* only tidied */
  assert_same_tensors(paths[0], DIR "model-i2_s.gguf");
  assert_ok(convert(paths[0], paths[1], TRI_TYPE_TL1, NULL, 0), err);
  assert_ok(convert(paths[1], paths[2], TRI_TYPE_TL2, odd, 2), err);
  assert_ok(convert(paths[2], paths[3], TRI_TYPE_I2_S, NULL, 0), err);
  assert_same_file(paths[0], paths[3]);
  assert_ok(convert(DIR "model-tl2.gguf", paths[3], TRI_TYPE_TL1, odd1, 1), err);
  tri_gguf *g = open_file(paths[3]);
  uint64_t file_type;
  assert_true(tri_gguf_get_u64(g, "general.file_type", &file_type) && file_type == 38);
  assert_true(tri_gguf_kv_find(g, "trireme.tl1.768x256") && !tri_gguf_kv_find(g, "trireme.tl2.768x256"));
  tri_gguf_close(&g);
  assert_ok(convert(paths[3], paths[2], TRI_TYPE_I2_S, NULL, 0), err);
  assert_same_file(paths[0], paths[2]);
}

/* A Hugging Face folder straight to a type, and by way of I2_S. */
static void folders_convert_to_each_type(void **state) {
  (void)state;
  static const uint32_t types[] = {TRI_TYPE_TL1, TRI_TYPE_TL2};
  tri_convert_options o = {.embedding_type = TRI_TYPE_F16, .linear_type = TRI_TYPE_I2_S};
  assert_ok(tri_convert_hf(TRIREME_FIXTURES "/story-llama158", paths[0], &o, &err), err);
  for (int i = 0; i < 2; i++) {
    o.linear_type = types[i];
    assert_ok(tri_convert_hf(TRIREME_FIXTURES "/story-llama158", paths[1], &o, &err), err);
    assert_ok(convert(paths[0], paths[2], types[i], NULL, 0), err);
    assert_same_tensors(paths[1], paths[2]);
  }
  static const tri_tiles_given nowhere[] = {{1, 2, {32, 96, 0}}};
  o.tiles = nowhere, o.n_tiles = 1;
  assert_fails(tri_convert_hf(TRIREME_FIXTURES "/story-llama158", paths[3], &o, &err), TRI_E_INVALID, err,
               "tile sizes for 1x2, but no ternary");
}

static void dummies_have_the_same_weights_in_each_type(void **state) {
  (void)state;
  tri_convert_options o = {.linear_type = TRI_TYPE_TL2};
  assert_ok(tri_convert_dummy("bitnet-3b", paths[0], TRI_TYPE_Q8_0, 1, 0, 7, NULL, &err), err);
  assert_ok(tri_convert_dummy("bitnet-3b", paths[1], TRI_TYPE_Q8_0, 1, 0, 7, &o, &err), err);
  assert_ok(convert(paths[1], paths[2], TRI_TYPE_I2_S, NULL, 0), err);
  assert_same_tensors(paths[0], paths[2]);
}

/* --- running --- */

static void run_file(const char *path, int threads, float *logits) {
  static int32_t tokens[TOKENS];
  FILE *f = fopen(DIR "tokens.txt", "r");
  assert_non_null(f);
  for (int i = 0; i < TOKENS; i++) assert_int_equal(fscanf(f, "%d", &tokens[i]), 1);
  fclose(f);
  tri_single s;
  tri_single_options o = {.threads = threads, .kv_type = TRI_F16, .max_rows = 64};
  assert_ok(tri_single_open(&s, path, &o, &err), err);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, logits, &err), err);
  tri_single_close(&s);
}

static void every_type_runs_to_the_same_bits(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
  run_file(DIR "model-i2_s.gguf", 1, want);
  assert_ok(convert(DIR "model-tl2.gguf", paths[0], TRI_TYPE_TL2, NULL, 0), err);
  assert_ok(convert(DIR "model-i2_s.gguf", paths[1], TRI_TYPE_TL1, NULL, 0), err);
  for (int i = 0; i < 2; i++)
    for (int threads = 1; threads <= 3; threads += 2) {
      memset(got, 0xff, sizeof got);
      run_file(paths[i], threads, got);
      assert_memory_equal(got, want, sizeof want);
    }
}

/* --- tile sizes --- */

static void assert_tiles(tri_tiles t, uint32_t bm, uint32_t bk, uint32_t sub) {
  if (t.bm != bm || t.bk != bk || t.sub != sub) fail_msg("%u,%u,%u; %u,%u,%u expected", t.bm, t.bk, t.sub, bm, bk, sub);
}

static void tile_sizes_are_presets_or_by_rule(void **state) {
  (void)state;
  tri_tiles t;
  assert_true(tri_tiles_preset(TRI_TYPE_TL2, 1536, 1536, &t));
  assert_tiles(t, 128, 192, 0);
  assert_true(tri_tiles_preset(TRI_TYPE_TL1, 3200, 3200, &t));
  assert_tiles(t, 320, 128, 64);
  assert_true(tri_tiles_preset(TRI_TYPE_TL2, 4096, 14336, &t));
  assert_false(tri_tiles_preset(TRI_TYPE_TL1, 4096, 14336, &t)); /* bitnet.cpp has two */
  assert_false(tri_tiles_preset(TRI_TYPE_TL2, 8640, 8640, &t));
  assert_tiles(tri_tiles_choose(TRI_TYPE_TL1, 8640, 3200), 320, 64, 32);
  assert_tiles(tri_tiles_choose(TRI_TYPE_TL2, 2560, 6912), 256, 96, 0);
  assert_tiles(tri_tiles_choose(TRI_TYPE_TL2, 640, 2560), 160, 96, 0);
  assert_tiles(tri_tiles_choose(TRI_TYPE_TL1, 640, 2560), 160, 128, 32);
  assert_tiles(tri_tiles_choose(TRI_TYPE_TL1, 96, 320), 96, 64, 32);
  assert_tiles(tri_tiles_choose(TRI_TYPE_TL1, 100, 100), 32, 32, 32); /* doesn't fit */
  static const size_t shapes[][2] = {{1536, 4096}, {1536, 1536}, {4096, 1536}, {3200, 8640}, {3200, 3200}, {8640, 3200}, {14336, 4096},
                                     {4096, 14336}, {1024, 4096}, {4096, 4096}, {2560, 6912}, {6912, 2560}, {640, 2560}, {3072, 9216}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    tri_ternary_form f;
    assert_ok(tri_ternary_plan(&f, TRI_TYPE_TL1, shapes[i][0], shapes[i][1], "t", NULL, 0, NULL, &err), err);
    assert_ok(tri_ternary_plan(&f, TRI_TYPE_TL2, shapes[i][0], shapes[i][1], "t", NULL, 0, NULL, &err), err);
  }
}

static void tile_sizes_are_parsed(void **state) {
  (void)state;
  static const char *const wrong[] = {"",          "1x2",          "1x2=3",        "1x2=3,",      "1x2=3,4,",  "1x2=3,4,5,", "1x2=3,4 ",
                                      "0x2=3,4",   "1x2=0,4",      "1x2=3,4,0",    "x2=3,4",      "-1x2=3,4",  "1x2=+3,4",   "1X2=3,4",
                                      "1 x2=3,4",  "12345678x2=3,4"};
  tri_tiles_given g;
  assert_ok(tri_tiles_parse("256x768=128,96", &g, &err), err);
  assert_true(g.m == 256 && g.k == 768);
  assert_tiles(g.tiles, 128, 96, 0);
  assert_ok(tri_tiles_parse("1x2=3,4,5", &g, &err), err);
  assert_tiles(g.tiles, 3, 4, 5);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    assert_fails(tri_tiles_parse(wrong[i], &g, &err), TRI_E_INVALID, err, "MxK=BM,BK or MxK=BM,BK,bm expected");
}

/* --- wrong files: one tensor "t", made in memory --- */

typedef struct file {
  uint32_t type;
  uint64_t k, m, planes;
  const char *key, *tiles; /* a key of tile sizes, or NULL */
  int file_type;           /* 0: no such key */
  size_t spare;            /* bytes after the tensor */
  long at;                 /* one byte of the tensor, from its end if negative, changed to … */
  int value;               /* … this; -1: none is */
  float scale;             /* 0: 1 */
} file;

static void put_u32(tri_buf *b, uint32_t v) { tri_buf_append(b, &v, sizeof v); }
static void put_u64(tri_buf *b, uint64_t v) { tri_buf_append(b, &v, sizeof v); }
static void put_str(tri_buf *b, const char *s) { put_u64(b, strlen(s)), tri_buf_append(b, s, strlen(s)); }

/* All weights zero. */
static void put_tensor(tri_buf *b, const file *f, size_t bytes) {
  size_t start = b->len;
  for (size_t i = 0; i < bytes; i++) tri_buf_byte(b, f->type == TRI_TYPE_I2_S ? 0x55 : f->type == TRI_TYPE_TL1 ? 0x44 : 0);
  if (f->type == TRI_TYPE_TL2) { /* the pairs: 64 columns of 256 */
    size_t pairs = f->m * f->k / 4;
    for (size_t i = 0; i < pairs / 4; i++) b->data[start + f->m * 192 * 5 / 24 + i] = 0x44;
  }
  float scale = f->scale == 0 ? 1 : f->scale;
  memcpy(b->data + b->len - 32, &scale, sizeof scale);
  if (f->value >= 0) b->data[f->at < 0 ? b->len - (size_t)-f->at : start + (size_t)f->at] = (uint8_t)f->value;
  for (size_t i = 0; i < f->spare; i++) tri_buf_byte(b, 0);
}

static tri_buf make_file(const file *f) {
  tri_buf b = {0};
  uint64_t bytes;
  assert_true(tri_type_bytes(f->type, f->m * f->k * f->planes, f->k, &bytes));
  tri_buf_append(&b, "GGUF", 4), put_u32(&b, 3), put_u64(&b, 1), put_u64(&b, (f->key != NULL) + (f->file_type != 0));
  if (f->key) put_str(&b, f->key), put_u32(&b, TRI_GGUF_STRING), put_str(&b, f->tiles);
  if (f->file_type != 0) put_str(&b, "general.file_type"), put_u32(&b, TRI_GGUF_U32), put_u32(&b, (uint32_t)f->file_type);
  put_str(&b, "t"), put_u32(&b, 3), put_u64(&b, f->k), put_u64(&b, f->m), put_u64(&b, f->planes), put_u32(&b, f->type), put_u64(&b, 0);
  while (b.len % 32) tri_buf_byte(&b, 0);
  put_tensor(&b, f, (size_t)bytes);
  assert_true(tri_buf_ok(&b));
  return b;
}

/* Open the tensor and read it all. */
static tri_status read_file(const file *f, const tri_tiles_given *given, size_t n) {
  tri_buf b = make_file(f);
  tri_gguf *g;
  tri_ternary x;
  err.text[0] = 0;
  assert_ok(tri_gguf_open_memory(&g, b.data, b.len, "file", &err), err);
  tri_status status = tri_ternary_open(&x, g, tri_gguf_find(g, "t"), given, n, &err);
  if (status == TRI_OK) {
    int8_t *trits = malloc(x.form.m * x.form.k);
    assert_non_null(trits);
    if (!tri_ternary_rows(&x, 0, x.form.m, trits, NULL)) status = tri_ternary_damaged(&x, &err);
    for (size_t i = 0; i < x.form.m * x.form.k && status == TRI_OK; i++) assert_int_equal(trits[i], 0);
    free(trits);
  }
  tri_gguf_close(&g);
  tri_buf_free(&b);
  return status;
}

#define SHAPE .m = 128, .k = 256, .planes = 1
#define I2S .type = TRI_TYPE_I2_S, SHAPE
#define TL1 .type = TRI_TYPE_TL1, SHAPE, .key = "trireme.tl1.128x256"
#define TL2 .type = TRI_TYPE_TL2, SHAPE, .key = "trireme.tl2.128x256"
#define GOOD1 TL1, .tiles = "128,64,32"
#define GOOD2 TL2, .tiles = "128,96"
#define SAME .value = -1

static void each_wrong_tensor_has_its_error(void **state) {
  (void)state;
  static const struct {
    file f;
    tri_status status;
    const char *part;
  } cases[] = {
      {{I2S, SAME}, TRI_OK, ""},
      {{GOOD1, SAME}, TRI_OK, ""},
      {{GOOD2, SAME}, TRI_OK, ""},
      {{TL2, .tiles = "128,96,32", SAME}, TRI_OK, ""},
      {{I2S, SAME, .scale = NAN}, TRI_E_FORMAT, "file: tensor t has the scale nan"},
      {{GOOD1, SAME, .scale = INFINITY}, TRI_E_FORMAT, "has the scale inf, which is not a positive number"},
      {{GOOD2, SAME, .scale = -1}, TRI_E_FORMAT, "has the scale -1"},
      {{I2S, SAME, .scale = -0.0f}, TRI_OK, ""}, /* stands for 1 here */
      {{I2S, .at = -29, .value = 0}, TRI_OK, ""}, /* 0x3f800000 without its 0x3f: 1.2e-38, still positive */
      {{I2S, .at = 77, .value = 0xc5}, TRI_E_FORMAT, "tensor t holds codes that are no ternary weights in I2_S: the file is damaged"},
      {{GOOD1, .at = 77, .value = 0x49}, TRI_E_FORMAT,
       "in TL1 in tiles of BM=128, BK=64, bm=32: the file is damaged, or it was made with other"},
      {{GOOD2, .at = 77, .value = 0xe0}, TRI_E_FORMAT,
       "in TL2 in tiles of BM=128, BK=96: the file is damaged, or it was made with other tile"},
      {{GOOD2, .at = 128 * 32 + 5, .value = 1}, TRI_E_FORMAT, "holds codes that are no ternary weights"}, /* minus zero */
      {{GOOD2, .at = -33, .value = 1}, TRI_E_FORMAT, "holds codes that are no ternary weights"},          /* padding */
      {{GOOD2, .at = -1, .value = 1}, TRI_OK, ""},                                                        /* garbage after the scale */
      {{TL2, .tiles = "128,192", SAME}, TRI_OK, ""}, /* a permutation: nothing tells */
      {{TL2, .tiles = "128,240", SAME}, TRI_E_FORMAT, "128 x 256 can't be TL2 in tiles of BM=128, BK=240: the columns left over"},
      {{TL2, .tiles = "64,24,64", SAME}, TRI_E_FORMAT, "bm must be 32"},
      {{TL2, .tiles = "96,96", SAME}, TRI_E_FORMAT, "the rows must be a multiple of BM"},
      {{TL2, .tiles = "128;96", SAME}, TRI_E_FORMAT, "file: key trireme.tl2.128x256 must be a text of tile sizes"},
      {{TL2, .tiles = "128,96,32,1111111111111111111111111", SAME}, TRI_E_FORMAT, "must be a text of tile sizes"},
      {{TL1, .tiles = "128,64", SAME}, TRI_E_FORMAT, "bm must be 32 or 64"},
      {{.type = TRI_TYPE_TL1, SHAPE, .key = "trireme.tl2.128x256", .tiles = "128,96", SAME},
       TRI_E_UNSUPPORTED,
       "tensor t is TL1, whose tile sizes stand neither in the file nor among bitnet.cpp's presets"},
      {{.type = TRI_TYPE_TL1, SHAPE, SAME}, TRI_E_UNSUPPORTED, "--in-tiles 128x256=BM,BK,bm"},
      {{.type = TRI_TYPE_I2_S, .m = 128, .k = 256, .planes = 2, SAME}, TRI_E_UNSUPPORTED, "is no ternary matrix"},
      {{.type = TRI_TYPE_Q6_K, SHAPE, SAME}, TRI_E_UNSUPPORTED, "tensor t of type Q6_K is no ternary matrix"},
      {{.type = TRI_TYPE_I2_S, .m = 1, .k = TRI_MAX_K + 128, .planes = 1, SAME}, TRI_E_LIMIT, "262272 columns, more than 262144"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_status status = read_file(&cases[i].f, NULL, 0);
    assert_case(i, status, cases[i].status, err, cases[i].part);
  }
}

static void given_tiles_come_first(void **state) {
  (void)state;
  static const tri_tiles_given right[] = {{768, 256, {5, 6, 7}}, {128, 256, {128, 96, 0}}}, wrong[] = {{128, 256, {96, 96, 0}}};
  assert_int_equal(read_file(&(file){TL2, .tiles = "64,9", SAME}, right, 2), TRI_OK);
  assert_fails(read_file(&(file){GOOD2, SAME}, wrong, 1), TRI_E_INVALID, err, "the rows must be a multiple of BM");
}

/* Random weights packed with some tiles and read with others that move TL2's parts. */
static void other_tiles_are_noticed_where_they_can_be(void **state) {
  (void)state;
  static const tri_tiles_given other[] = {{256, 768, {128, 288, 0}}};
  tri_gguf *g = open_file(DIR "model-tl2.gguf");
  tri_ternary x;
  assert_ok(tri_ternary_open(&x, g, tri_gguf_find(g, "blk.0.ffn_down.weight"), other, 1, &err), err);
  int8_t *trits = malloc(TRI_TERNARY_ROWS * 768);
  assert_non_null(trits);
  assert_false(tri_ternary_rows(&x, 0, TRI_TERNARY_ROWS, trits, NULL));
  free(trits);
  assert_fails(tri_ternary_damaged(&x, &err), TRI_E_FORMAT, err, "or it was made with other tile sizes");
  tri_gguf_close(&g);
}

/* 128 x 256 as MXFP4 takes 17408 bytes, as TL2 8224; as IQ4_NL 18432, as I2_S 8224. */
static void numbers_that_others_use_are_told_apart(void **state) {
  (void)state;
  enum { MXFP4 = 17408 - 8224, IQ4 = 18432 - 8224 };
  static const struct {
    file f;
    tri_status status;
  } cases[] = {
      {{GOOD2, SAME, .spare = MXFP4}, TRI_E_UNSUPPORTED},       {{GOOD2, SAME, .spare = MXFP4 - 1}, TRI_OK},
      {{GOOD2, SAME, .spare = MXFP4, .file_type = 39}, TRI_E_UNSUPPORTED},
      {{GOOD2, SAME, .spare = MXFP4 + 64, .file_type = 38}, TRI_E_UNSUPPORTED},
      {{GOOD2, SAME, .spare = MXFP4 + 64, .file_type = 39}, TRI_OK},
      {{GOOD2, SAME, .spare = MXFP4 + 64}, TRI_E_UNSUPPORTED},  {{I2S, SAME, .spare = IQ4}, TRI_E_UNSUPPORTED},
      {{I2S, SAME, .spare = MXFP4}, TRI_OK},                    {{I2S, SAME, .spare = 1 << 20, .file_type = 40}, TRI_OK},
      {{GOOD1, SAME, .spare = IQ4}, TRI_E_UNSUPPORTED},         {{GOOD1, SAME, .spare = 1 << 20, .file_type = 38}, TRI_OK},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_status status = read_file(&cases[i].f, NULL, 0);
    if (status != cases[i].status) fail_msg("case %zu: %s \"%s\"", i, tri_status_name(status), err.text);
  }
  assert_fails(read_file(&cases[0].f, NULL, 0), TRI_E_UNSUPPORTED, err,
               "tensor t: type number 39 is TL2 in bitnet.cpp's files and MXFP4 in llama.cpp's");
}

/* --- wrong conversions --- */

static void write_file(const file *f, const char *path) {
  tri_buf b = make_file(f);
  FILE *out = fopen(path, "wb");
  assert_non_null(out);
  assert_int_equal(fwrite(b.data, 1, b.len, out), b.len);
  fclose(out);
  tri_buf_free(&b);
}

static void each_wrong_conversion_has_its_error(void **state) {
  (void)state;
  static const tri_tiles_given nowhere[] = {{256, 128, {32, 96, 0}}}, misfit[] = {{128, 256, {96, 96, 0}}};
  unlink(paths[1]);
  write_file(&(file){I2S, SAME}, paths[0]);
  assert_ok(convert(paths[0], paths[1], TRI_TYPE_TL2, NULL, 0), err);
  unlink(paths[1]);
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_F16, NULL, 0), TRI_E_INVALID, err, "IQ1_BN or IQ2_BN expected");
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_TL2, nowhere, 1), TRI_E_INVALID, err,
               "tile sizes for 256x128, but no ternary tensor has 256 rows");
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_TL2, misfit, 1), TRI_E_UNSUPPORTED, err,
               "tensor t of 128 x 256 can't be TL2 in tiles of BM=96, BK=96: the rows must be a multiple of BM");
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_I2_S, misfit, 1), TRI_E_INVALID, err, "I2_S, which has none");
  write_file(&(file){I2S, .at = 77, .value = 0xc5}, paths[0]);
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_TL2, NULL, 0), TRI_E_FORMAT, err, "holds codes that are no ternary weights in I2_S");
  write_file(&(file){.type = TRI_TYPE_I2_S, .m = 32, .k = 132, .planes = 1, SAME}, paths[0]);
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_TL2, NULL, 0), TRI_E_UNSUPPORTED, err,
               "tensor t of 32 x 132 can't be TL2 in tiles of BM=32, BK=96: the columns must be at least 256");
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_TL1, NULL, 0), TRI_E_UNSUPPORTED, err, "the columns must be a multiple of BK");
  write_file(&(file){.type = TRI_TYPE_F16, SHAPE, SAME}, paths[0]);
  assert_fails(convert(paths[0], paths[1], TRI_TYPE_TL2, NULL, 0), TRI_E_UNSUPPORTED, err, "has no ternary tensors (I2_S, TL1, ");
  assert_fails(convert(DIR "none.gguf", paths[1], TRI_TYPE_TL2, NULL, 0), TRI_E_NOT_FOUND, err, "none.gguf");
  assert_int_equal(access(paths[1], F_OK), -1);
}

/* As bitnet.cpp's own converter writes TL2: the scale is a tensor of its own, inside the linear's bytes. */
static void a_scale_beside_its_tensor_goes(void **state) {
  (void)state;
  tri_buf b = make_file(&(file){GOOD2, SAME}), out = {0};
  size_t table = 4 + 4 + 8 + 8 + (8 + 19 + 4 + 8 + 6), entry = 8 + 1 + 4 + 24 + 4 + 8, old = table + entry;
  tri_buf_append(&out, b.data, old);
  put_str(&out, "t_scale"), put_u32(&out, 1), put_u64(&out, 1), put_u32(&out, TRI_TYPE_F32), put_u64(&out, 8224 - 32);
  while (out.len % 32) tri_buf_byte(&out, 0);
  tri_buf_append(&out, b.data + (old + 31) / 32 * 32, 8224);
  out.data[8] = 2; /* tensors */
  FILE *f = fopen(paths[0], "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(out.data, 1, out.len, f), out.len);
  fclose(f);
  tri_buf_free(&b), tri_buf_free(&out);
  tri_gguf *g = open_file(paths[0]);
  assert_non_null(tri_gguf_find(g, "t_scale"));
  tri_gguf_close(&g);
  assert_ok(convert(paths[0], paths[1], TRI_TYPE_I2_S, NULL, 0), err);
  g = open_file(paths[1]);
  tri_ternary x;
  assert_int_equal(tri_gguf_tensor_count(g), 1);
  assert_ok(tri_ternary_open(&x, g, tri_gguf_tensor_at(g, 0), NULL, 0, &err), err);
  assert_true(x.scale == 1);
  tri_gguf_close(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tl2_of_bitnet_cpp_holds_the_weights_of_its_i2_s),
      cmocka_unit_test(we_pack_tl2_as_bitnet_cpp_does),
      cmocka_unit_test(conversions_lose_nothing),
      cmocka_unit_test(folders_convert_to_each_type),
      cmocka_unit_test(dummies_have_the_same_weights_in_each_type),
      cmocka_unit_test(every_type_runs_to_the_same_bits),
      cmocka_unit_test(tile_sizes_are_presets_or_by_rule),
      cmocka_unit_test(tile_sizes_are_parsed),
      cmocka_unit_test(each_wrong_tensor_has_its_error),
      cmocka_unit_test(given_tiles_come_first),
      cmocka_unit_test(other_tiles_are_noticed_where_they_can_be),
      cmocka_unit_test(numbers_that_others_use_are_told_apart),
      cmocka_unit_test(each_wrong_conversion_has_its_error),
      cmocka_unit_test(a_scale_beside_its_tensor_goes),
  };
  return cmocka_run_group_tests(tests, make_paths, remove_paths);
}
