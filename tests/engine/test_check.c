/* SPDX-License-Identifier: MIT */
/* What trireme inspect --check rests on: damage of each kind. */
#include <unistd.h>

#include "engine/check.h"
#include "tests/engine/plain_file.h"

enum { VOCAB = 64, D = 128 };
static const plain small = {
    .arch = "llama", .rope_scale = 1, .d = D, .layers = 2, .heads = 4, .kv = 2, .hd = 64, .ffn = 256, .vocab = VOCAB};
static char path[64];
static tri_error err;

static int make_path(void **state) {
  (void)state;
  strcpy(path, "/tmp/trireme-check-XXXXXX");
  int fd = mkstemp(path);
  return fd < 0 ? -1 : close(fd);
}
static int remove_path(void **state) {
  (void)state;
  return unlink(path);
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
      cmocka_unit_test(all_of_a_tensor_is_read),
  };
  return cmocka_run_group_tests(tests, make_path, remove_path);
}
