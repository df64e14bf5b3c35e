/* SPDX-License-Identifier: MIT */
#include "tests/kernels/levels.h"

static const tri_kernels *pick_with(const char *wish, char *why, size_t why_len) {
  if (wish) setenv("TRIREME_ISA", wish, 1);
  else unsetenv("TRIREME_ISA");
  why[0] = '\0';
  return tri_kernels_pick(why, why_len);
}

static void picks_the_best(void **state) {
  (void)state;
  char why[256];
  const tri_kernels *best = NULL, *picked = pick_with(NULL, why, sizeof why);
  for (int isa = 0; isa < TRI_ISA_COUNT; isa++)
    if (tri_kernels_get((tri_isa)isa)) best = tri_kernels_get((tri_isa)isa);
  assert_ptr_equal(picked, best);
  assert_ptr_equal(pick_with("", why, sizeof why), best);
}

static void picks_by_name(void **state) {
  (void)state;
  for (int isa = 0; isa < TRI_ISA_COUNT; isa++) {
    char why[256];
    const char *name = tri_kernels_isa_name((tri_isa)isa);
    const tri_kernels *picked = pick_with(name, why, sizeof why);
    assert_ptr_equal(picked, tri_kernels_get((tri_isa)isa));
    if (picked) {
      assert_int_equal(picked->isa, isa);
      assert_string_equal(picked->name, name);
    } else if (!strstr(why, name) || !strstr(why, "portable")) {
      fail_msg("unclear text: %s", why);
    }
  }
}

static void refuses_an_unknown_name(void **state) {
  (void)state;
  char why[256], tiny[8];
  assert_null(pick_with("sse9", why, sizeof why));
  assert_string_equal(why, "TRIREME_ISA=sse9: there is no such level; the levels are portable, avx2, avxvnni, avx512, "
                           "neon, dotprod, i8mm");
  assert_null(pick_with("sse9", tiny, sizeof tiny));
  assert_string_equal(tiny, "TRIREME");
  assert_null(tri_kernels_get((tri_isa)99));
}

/* Each table is whole: no level may leave an op out. */
static void tables_are_complete(void **state) {
  (void)state;
  const tri_kernels *levels[MOST_LEVELS];
  int count = all_levels(levels);
  for (int l = 0; l < count; l++) {
    const tri_kernels *t = levels[l];
    assert_true(t->quant_row && t->gemm[TRI_FORM_I2S] && t->dequant && t->quant_row_q8 && t->q8_gemm && t->q6_gemm && t->matmul);
    assert_true(t->panel_rows >= 1 && t->panel_rows <= TRI_PANEL_ROWS);
    assert_true(t->dot && t->rmsnorm && t->rope && t->attend && t->attend_merge && t->attend_end && t->put_key);
    assert_true(t->relu2_gate && t->silu_gate && t->add && t->to_f32);
    assert_true(t->from_f32 && t->logsumexp && t->name);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(picks_the_best),
      cmocka_unit_test(picks_by_name),
      cmocka_unit_test(refuses_an_unknown_name),
      cmocka_unit_test(tables_are_complete),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
