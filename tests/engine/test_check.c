/* SPDX-License-Identifier: MIT */
/* What trireme inspect --check rests on: hashes of parts against coreutils' b2sum, and damage of each kind. */
#include <unistd.h>

#include "engine/check.h"
#include "tests/engine/plain_file.h"

enum { VOCAB = 64, D = 128 };
static const plain small = {
    .arch = "llama", .rope_scale = 1, .d = D, .layers = 2, .heads = 4, .kv = 2, .hd = 64, .ffn = 256, .vocab = VOCAB};
static char path[64], stream_path[64];
static tri_error err;

static int make_paths(void **state) {
  (void)state;
  strcpy(path, "/tmp/trireme-check-XXXXXX"), strcpy(stream_path, "/tmp/trireme-check-XXXXXX");
  int a = mkstemp(path), b = mkstemp(stream_path);
  return a < 0 || b < 0 ? -1 : close(a) | close(b);
}
static int remove_paths(void **state) {
  (void)state;
  return unlink(path) | unlink(stream_path);
}

static void put_u64(FILE *f, uint64_t v) { assert_int_equal(fwrite(&v, sizeof v, 1, f), 1); }
static void put_bytes(FILE *f, const void *p, size_t n) {
  put_u64(f, n);
  assert_int_equal(fwrite(p, 1, n, f), n);
}

/* The embedding's part, written out as check.h says, in b2sum's eyes. */
static void b2sum_of_embedding(char hex[65]) {
  static float values[VOCAB * D];
  char command[160];
  FILE *f = fopen(stream_path, "wb");
  assert_non_null(f);
  for (size_t i = 0; i < VOCAB * D; i++) values[i] = plain_value("token_embd", 0, i);
  put_bytes(f, "token_embd.weight", strlen("token_embd.weight"));
  put_u64(f, 0), put_u64(f, 2), put_u64(f, D), put_u64(f, VOCAB);
  put_bytes(f, values, sizeof values);
  fclose(f);
  snprintf(command, sizeof command, "b2sum -l 256 %s", stream_path);
  FILE *p = popen(command, "r");
  assert_non_null(p);
  assert_int_equal(fscanf(p, "%64s", hex), 1);
  pclose(p);
}

static void load(tri_gguf **g, tri_check_part **parts, size_t *n) {
  assert_ok(tri_gguf_open(g, path, &err), err);
  assert_ok(tri_check_parts(*g, parts, n, &err), err);
}

static void parts_have_the_hash_that_b2sum_finds(void **state) {
  (void)state;
  static const char *const names[] = {"metadata", "embedding", "layer 0", "layer 1", "head", "other"};
  char want[65], got[65];
  tri_gguf *g;
  tri_check_part *parts;
  size_t n;
  plain_write_file(path, &(plain_file){.p = small, .extra = "rope_freqs.weight", .extra_n = 32});
  load(&g, &parts, &n);
  assert_int_equal(n, 6);
  for (size_t i = 0; i < n; i++) assert_string_equal(parts[i].name, names[i]);
  b2sum_of_embedding(want);
  for (size_t i = 0; i < TRI_CHECK_HASH_BYTES; i++) snprintf(got + 2 * i, 3, "%02x", parts[1].hash[i]);
  assert_string_equal(got, want);
  assert_int_equal(parts[1].bytes, VOCAB * D * 4);
  free(parts);
  tri_gguf_close(&g);
}

static void poke(const char *tensor, size_t at, const void *bytes, size_t n) {
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  const tri_gguf_tensor *t = tri_gguf_find(g, tensor);
  long place = (long)(t->data - (const uint8_t *)tri_gguf_header(g, 0).data + (ptrdiff_t)at);
  tri_gguf_close(&g);
  FILE *f = fopen(path, "r+b");
  assert_true(f && fseek(f, place, SEEK_SET) == 0 && fwrite(bytes, 1, n, f) == n);
  fclose(f);
}

static void a_change_shows_in_its_part_alone(void **state) {
  (void)state;
  tri_gguf *g;
  tri_check_part *before, *after;
  size_t n, m;
  plain_write_file(path, &(plain_file){.p = small});
  load(&g, &before, &n);
  tri_gguf_close(&g);
  poke("blk.1.ffn_norm.weight", 0, &(float){2}, 4);
  load(&g, &after, &m);
  tri_gguf_close(&g);
  assert_int_equal(n, m);
  for (size_t i = 0; i < n; i++)
    assert_int_equal(memcmp(before[i].hash, after[i].hash, sizeof before[i].hash) != 0, strcmp(before[i].name, "layer 1") == 0);
  free(before), free(after);
}

static tri_status check_tensor(const char *name, tri_check_tensor *c) {
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  tri_status status = tri_check_read(g, tri_gguf_find(g, name), c, &err);
  tri_gguf_close(&g);
  return status;
}

static void all_of_a_tensor_is_read(void **state) {
  (void)state;
  static const char up[] = "blk.0.ffn_up.weight";
  tri_check_tensor c;
  plain_file f = {.p = small, .type = TRI_TYPE_IQ2_BN};
  f.p.row_scales = true;
  plain_write_file(path, &f);
  assert_ok(check_tensor(up, &c), err);
  size_t zeros = 0;
  float least = 1, most = 0;
  for (size_t i = 0; i < 256 * D; i++) zeros += plain_trit("ffn_up", 0, i) == 0;
  for (size_t r = 0; r < 256; r++) {
    float s = plain_scale(&f.p, "ffn_up", 0, r);
    if (s < least) least = s;
    if (s > most) most = s;
  }
  assert_true(c.ternary && c.form.type == TRI_TYPE_IQ2_BN && c.zeros == (double)zeros / (256 * D));
  assert_true(c.least == least && c.most == most);
  poke(up, 255 * (4 + D / 4) + 4 + D / 4 - 1, "\xc5", 1); /* the last codes of the last row */
  assert_fails(check_tensor(up, &c), TRI_E_FORMAT, err, "tensor blk.0.ffn_up.weight holds codes that are no ternary weights in IQ2_BN");
  assert_ok(check_tensor("token_embd.weight", &c), err);
  assert_false(c.ternary);
  poke("token_embd.weight", VOCAB * D * 4 - 4, &(float){NAN}, 4);
  assert_fails(check_tensor("token_embd.weight", &c), TRI_E_FORMAT, err, "tensor token_embd.weight: value 8191 is not finite");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_have_the_hash_that_b2sum_finds),
      cmocka_unit_test(a_change_shows_in_its_part_alone),
      cmocka_unit_test(all_of_a_tensor_is_read),
  };
  return cmocka_run_group_tests(tests, make_paths, remove_paths);
}
