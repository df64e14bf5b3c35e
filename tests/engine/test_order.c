/* SPDX-License-Identifier: MIT */
/* The order of a file's I2_S, told by the weights of a trained model. Argument: one whose I2_S is in x86's order. */
#include "tests/test.h"

#include <stdlib.h>
#include "base/file.h"
#include "engine/convert.h"
#include "engine/model.h"
#include "engine/order.h"
#include "tests/engine/paths.h"
#include "tests/engine/plain_file.h"

static const char *model_path;
static tri_error err;

/* The model's file with every I2_S matrix in another order. */
static void write_in_order(tri_i2s_order order, const char *path) {
  tri_gguf *g;
  tri_buf file = {0};
  assert_ok(tri_file_read(&file, model_path, 1 << 28, &err), err);
  assert_ok(tri_gguf_open(&g, model_path, &err), err);
  const uint8_t *start = (const uint8_t *)tri_gguf_header(g, 0).data;
  for (size_t i = 0; i < tri_gguf_tensor_count(g); i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    tri_ternary x;
    if (t->type != TRI_TYPE_I2_S) continue;
    assert_ok(tri_ternary_open(&x, g, t, NULL, 0, &err), err);
    int8_t *trits = malloc(x.form.m * x.form.k);
    assert_true(tri_ternary_rows(&x, 0, x.form.m, trits, NULL));
    plain_put_order(&(plain_file){.order = order}, &(plain_tensor){.m = x.form.m, .k = x.form.k}, trits, file.data + (t->data - start));
    free(trits);
  }
  FILE *f = fopen(path, "wb");
  assert_int_equal(fwrite(file.data, 1, file.len, f), file.len);
  fclose(f);
  tri_gguf_close(&g);
  tri_buf_free(&file);
}

static bool find(const char *path, tri_i2s_order *order) {
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  bool sure = tri_order_find(g, order);
  tri_gguf_close(&g);
  return sure;
}

static void each_order_is_found_and_read(void **state) {
  (void)state;
  tri_convert_options o = {.linear_type = TRI_TYPE_I2_S};
  tri_i2s_order found, x86 = TRI_I2S_X86;
  tri_model *m;
  assert_true(find(model_path, &found));
  assert_int_equal(found, TRI_I2S_X86);
  assert_ok(tri_convert_gguf(model_path, paths[0], &o, &err), err);
  for (int order = TRI_I2S_ARM; order <= TRI_I2S_FOURS; order++) {
    tri_i2s_order told = (tri_i2s_order)order;
    write_in_order(told, paths[1]);
    assert_true(find(paths[1], &found));
    assert_int_equal(found, told);
    assert_fails(tri_model_open(&m, paths[1], &err), TRI_E_UNSUPPORTED, err, "trireme convert");
    o.in_order = NULL;
    assert_ok(tri_convert_gguf(paths[1], paths[2], &o, &err), err);
    assert_same_file(paths[0], paths[2]);
    o.in_order = &told;
    assert_ok(tri_convert_gguf(paths[1], paths[2], &o, &err), err);
    assert_same_file(paths[0], paths[2]);
    o.in_order = &x86;
    assert_fails(tri_convert_gguf(paths[1], paths[2], &o, &err), TRI_E_INVALID, err, "--in-order x86");
  }
}

/* Random weights tell nothing: whatever is said of them is believed. */
static void random_weights_leave_doubt(void **state) {
  (void)state;
  tri_convert_options o = {.linear_type = TRI_TYPE_I2_S};
  tri_i2s_order found;
  for (int sub_norms = 0; sub_norms < 2; sub_norms++) {
    plain_write_file(paths[0], &(plain_file){.p = {.arch = sub_norms ? "bitnet" : "llama", .sub_norms = sub_norms, .rope_scale = 1,
                                                  .tied = true, .d = 256, .layers = 2, .heads = 4, .kv = 2, .hd = 64, .ffn = 512,
                                                  .vocab = 64}});
    assert_false(find(paths[0], &found));
    for (int order = TRI_I2S_X86; order <= TRI_I2S_FOURS; order++) {
      tri_i2s_order told = (tri_i2s_order)order;
      o.in_order = &told;
      assert_ok(tri_convert_gguf(paths[0], paths[1], &o, &err), err);
    }
  }
}

static void rows_that_are_not_fours_are_refused(void **state) {
  (void)state;
  tri_i2s_order fours = TRI_I2S_FOURS;
  tri_convert_options o = {.linear_type = TRI_TYPE_I2_S, .in_order = &fours};
  plain_write_file(paths[0], &(plain_file){.p = {.arch = "llama", .rope_scale = 1, .tied = true, .d = 128, .layers = 1, .heads = 2, .kv = 1,
                                                .hd = 64, .ffn = 130, .vocab = 64}});
  assert_fails(tri_convert_gguf(paths[0], paths[1], &o, &err), TRI_E_INVALID, err, "130 rows");
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  model_path = argv[1];
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_order_is_found_and_read),
      cmocka_unit_test(random_weights_leave_doubt),
      cmocka_unit_test(rows_that_are_not_fours_are_refused),
  };
  return cmocka_run_group_tests(tests, make_paths, remove_paths);
}
