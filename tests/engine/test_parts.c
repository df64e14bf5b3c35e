/* SPDX-License-Identifier: MIT */
/* Models as parts: hashes against coreutils' b2sum, bytes read in pieces, and a stage over parts against one over the file. */
#include <sys/stat.h>
#include <unistd.h>

#include "engine/parts.h"
#include "engine/stage.h"
#include "tests/engine/plain_file.h"

enum { VOCAB = 64, D = 128, LAYERS = 2, MAX_PARTS = 8 };
static const plain small = {
    .arch = "llama", .rope_scale = 1, .d = D, .layers = LAYERS, .heads = 4, .kv = 2, .hd = 64, .ffn = 256, .vocab = VOCAB};
static char path[64], stream_path[64];
static tri_error err;

static int make_paths(void **state) {
  (void)state;
  strcpy(path, "/tmp/trireme-parts-XXXXXX"), strcpy(stream_path, "/tmp/trireme-parts-XXXXXX");
  int a = mkstemp(path), b = mkstemp(stream_path);
  return a < 0 || b < 0 ? -1 : close(a) | close(b);
}
static int remove_paths(void **state) {
  (void)state;
  return unlink(path) | unlink(stream_path);
}

static void load(tri_gguf **g, tri_parts **parts) {
  assert_ok(tri_gguf_open(g, path, &err), err);
  assert_ok(tri_parts_open(parts, *g, &err), err);
}

static void unload(tri_gguf **g, tri_parts **parts) {
  tri_parts_close(parts);
  tri_gguf_close(g);
}

/* Values as floats, and zeros up to a multiple of 64 bytes, in b2sum's eyes. */
static void b2sum_of(const float *const *values, const size_t *counts, size_t n, char hex[65]) {
  static const char zeros[TRI_PARTS_ALIGN];
  char command[160];
  FILE *f = fopen(stream_path, "wb");
  assert_non_null(f);
  for (size_t i = 0; i < n; i++) {
    fwrite(values[i], sizeof(float), counts[i], f);
    fwrite(zeros, 1, (TRI_PARTS_ALIGN - counts[i] * sizeof(float) % TRI_PARTS_ALIGN) % TRI_PARTS_ALIGN, f);
  }
  assert_int_equal(fclose(f), 0);
  snprintf(command, sizeof command, "b2sum -l 256 %s", stream_path);
  FILE *p = popen(command, "r");
  assert_non_null(p);
  assert_int_equal(fscanf(p, "%64s", hex), 1);
  pclose(p);
}

static void parts_have_the_hash_that_b2sum_finds(void **state) {
  (void)state;
  static const char *const names[] = {"metadata", "embedding", "layer 0", "layer 1", "head", "other"};
  static float embedding[VOCAB * D], head[VOCAB * D], head_norm[D], factors[33];
  char want[65], got[65];
  tri_gguf *g;
  tri_parts *parts;
  plain_write_file(path, &(plain_file){.p = small, .extra = "rope_freqs.weight", .extra_n = 33});
  load(&g, &parts);
  assert_int_equal(tri_parts_count(parts), 6);
  for (size_t i = 0; i < 6; i++) assert_string_equal(tri_parts_name(parts, i), names[i]);
  for (size_t i = 0; i < VOCAB * D; i++) embedding[i] = plain_value("token_embd", 0, i), head[i] = plain_value("output", 0, i);
  for (size_t i = 0; i < D; i++) head_norm[i] = plain_norm("output_norm", 0, i);
  for (size_t i = 0; i < 33; i++) factors[i] = 1;
  const struct {
    int part;
    size_t n, counts[2];
    const float *values[2];
  } cases[] = {{tri_parts_embedding(parts), 1, {VOCAB * D}, {embedding}},
               {tri_parts_head(parts), 2, {VOCAB * D, D}, {head, head_norm}},
               {tri_parts_other(parts), 1, {33}, {factors}}};
  for (size_t i = 0; i < 3; i++) {
    tri_part_hash hash;
    b2sum_of(cases[i].values, cases[i].counts, cases[i].n, want);
    tri_parts_hash(parts, (size_t)cases[i].part, &hash);
    tri_parts_hex(&hash, got);
    assert_string_equal(got, want);
  }
  assert_int_equal(tri_parts_bytes(parts, 5), 192); /* 33 floats and padding */
  unload(&g, &parts);
}

static void a_change_shows_in_its_part_alone(void **state) {
  (void)state;
  tri_gguf *g;
  tri_parts *parts;
  tri_part_hash before[MAX_PARTS], after;
  plain_write_file(path, &(plain_file){.p = small});
  load(&g, &parts);
  for (size_t i = 0; i < tri_parts_count(parts); i++) tri_parts_hash(parts, i, &before[i]);
  long place = (long)(tri_gguf_find(g, "blk.1.ffn_norm.weight")->data - (const uint8_t *)tri_gguf_header(g, 0).data);
  unload(&g, &parts);
  FILE *f = fopen(path, "r+b");
  assert_true(f && fseek(f, place, SEEK_SET) == 0 && fwrite(&(float){2}, 4, 1, f) == 1);
  fclose(f);
  load(&g, &parts);
  for (size_t i = 0; i < tri_parts_count(parts); i++) {
    tri_parts_hash(parts, i, &after);
    assert_int_equal(memcmp(&before[i], &after, sizeof after) != 0, (int)i == tri_parts_layer(parts, 1));
  }
  unload(&g, &parts);
}

/* Hidden values of one row after layer 1, and its logits if the stage has the head. */
static void run_stage(const tri_model *m, bool head, float *hidden, float *logits) {
  tri_pool *pool;
  tri_stage *stage;
  tri_stage_spec spec = {.first = 1, .last = 2, .head = head, .slots = 1, .context = 4, .max_rows = 1, .kv_type = TRI_F32};
  assert_ok(tri_pool_create(&pool, 1, &err), err);
  assert_ok(tri_stage_open(&stage, m, tri_kernels_get(TRI_ISA_PORTABLE), pool, &spec, NULL, NULL, &err), err);
  for (int i = 0; i < D; i++) hidden[i] = (float)(i % 7) - 3;
  tri_stage_run(stage, &(tri_row){0}, 1, hidden);
  if (head) tri_stage_logits(stage, hidden, 1, logits);
  tri_stage_close(&stage);
  tri_pool_destroy(&pool);
}

static uint8_t *bytes_of(const tri_parts *parts, int part) {
  size_t n = (size_t)tri_parts_bytes(parts, (size_t)part), third = n / 3;
  uint8_t *bytes = malloc(n);
  assert_non_null(bytes);
  tri_parts_read(parts, (size_t)part, third, n - third, bytes + third);
  tri_parts_read(parts, (size_t)part, 0, third, bytes);
  tri_part_hash hash, want;
  tri_parts_hash_bytes(bytes, n, &hash);
  tri_parts_hash(parts, (size_t)part, &want);
  assert_memory_equal(&hash, &want, sizeof hash);
  return bytes;
}

static void a_stage_over_its_parts_computes_as_over_the_file(void **state) {
  (void)state;
  float want[D], got[D], want_logits[VOCAB], got_logits[VOCAB];
  tri_gguf *g, *header;
  tri_parts *parts, *mine;
  tri_model *whole, *some;
  plain_file f = {.p = small};
  f.p.slow_pairs = true; /* a model with factors for its rotary pairs */
  plain_write_file(path, &f);
  load(&g, &parts);
  uint8_t *bytes[MAX_PARTS] = {NULL};
  for (size_t i = 0; i < tri_parts_count(parts); i++) bytes[i] = bytes_of(parts, (int)i);
  assert_ok(tri_parts_open_metadata(&header, bytes[0], (size_t)tri_parts_bytes(parts, 0), "cached model", &err), err);
  assert_ok(tri_parts_open(&mine, header, &err), err);
  assert_int_equal(tri_parts_count(mine), tri_parts_count(parts));
  const int needed[] = {tri_parts_layer(mine, 1), tri_parts_head(mine), tri_parts_other(mine)};
  for (int i = 0; i < 3; i++) {
    assert_false(tri_parts_present(mine, (size_t)needed[i]));
    tri_parts_attach(mine, header, (size_t)needed[i], bytes[needed[i]]);
    assert_true(tri_parts_present(mine, (size_t)needed[i]));
  }
  assert_ok(tri_model_open_gguf(&some, &header, true, &err), err);
  assert_ok(tri_model_open(&whole, path, &err), err);
  run_stage(whole, true, want, want_logits);
  run_stage(some, true, got, got_logits);
  assert_memory_equal(got, want, sizeof want);
  assert_memory_equal(got_logits, want_logits, sizeof want_logits);
  assert_fails(tri_model_check_present(some, 0, 2, false, false, &err), TRI_E_NOT_FOUND, err, "cached model: layer 0 is not here");
  assert_fails(tri_model_check_present(some, 1, 2, true, false, &err), TRI_E_NOT_FOUND, err, "the embedding is not here");
  tri_model_close(&some), tri_model_close(&whole);
  tri_parts_close(&mine);
  for (size_t i = 0; i < tri_parts_count(parts); i++) free(bytes[i]);
  unload(&g, &parts);
}

static void damaged_metadata_is_refused(void **state) {
  (void)state;
  tri_gguf *g, *header;
  tri_parts *parts;
  plain_write_file(path, &(plain_file){.p = small});
  load(&g, &parts);
  size_t n = (size_t)tri_parts_bytes(parts, 0);
  uint8_t *bytes = bytes_of(parts, 0);
  assert_fails(tri_parts_open_metadata(&header, bytes, 0, "m", &err), TRI_E_FORMAT, err, "m: no metadata");
  assert_fails(tri_parts_open_metadata(&header, bytes, n - 64, "m", &err), TRI_E_FORMAT, err, "m: metadata of a wrong size");
  memset(bytes + 8, 0xff, 8); /* the header's size */
  assert_fails(tri_parts_open_metadata(&header, bytes, n, "m", &err), TRI_E_FORMAT, err, "m: metadata of a wrong size");
  free(bytes);
  unload(&g, &parts);
}

static void a_phantom_of_a_model_can_be_timed(void **state) {
  (void)state;
  float hidden[D], logits[VOCAB];
  tri_model *whole, *phantom;
  plain_write_file(path, &(plain_file){.p = small});
  assert_ok(tri_model_open(&whole, path, &err), err);
  const uint32_t heads[] = {TRI_TYPE_F16, TRI_TYPE_Q8_0, TRI_TYPE_F32};
  for (int i = 0; i < 3; i++) {
    assert_ok(tri_model_open_phantom(&phantom, tri_model_shape(whole), heads[i], VOCAB / 2, &err), err);
    assert_int_equal(tri_model_shape(phantom)->vocab, VOCAB / 2);
    tri_pool *pool;
    tri_stage *stage;
    tri_stage_spec spec = {.last = 1, .head = true, .slots = 1, .context = 4, .max_rows = 1, .kv_type = TRI_F32};
    assert_ok(tri_pool_create(&pool, 1, &err), err);
    assert_ok(tri_stage_open(&stage, phantom, tri_kernels_get(TRI_ISA_PORTABLE), pool, &spec, NULL, NULL, &err), err);
    for (int j = 0; j < D; j++) hidden[j] = 1;
    tri_stage_run(stage, &(tri_row){0}, 1, hidden);
    tri_stage_logits(stage, hidden, 1, logits);
    for (int j = 0; j < D; j++) assert_true(isfinite(hidden[j]));
    tri_stage_close(&stage), tri_pool_destroy(&pool), tri_model_close(&phantom);
  }
  tri_model_close(&whole);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_have_the_hash_that_b2sum_finds),
      cmocka_unit_test(a_change_shows_in_its_part_alone),
      cmocka_unit_test(a_stage_over_its_parts_computes_as_over_the_file),
      cmocka_unit_test(damaged_metadata_is_refused),
      cmocka_unit_test(a_phantom_of_a_model_can_be_timed),
  };
  return cmocka_run_group_tests(tests, make_paths, remove_paths);
}
