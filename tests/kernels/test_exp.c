/* SPDX-License-Identifier: MIT */
/* The exponential that softmax, silu and logsumexp share, against libm in double. It has no entry of its own in the
 * table, so this test includes it as the portable level compiles it; test_float.c proves the levels equal. */
#define TRI_LANES 4
#include "kernels/float_vector.h"

#include <math.h>
#include "tests/test.h"

static float one_exp(float x) {
  float y[16];
  v_store(y, v_exp(v_set(x)));
  return y[0];
}

/* the distance in units of the last place of the float nearest to the true value */
static double ulps(float got, double want) {
  float near = (float)want;
  double unit = nextafterf(near, INFINITY) - near;
  return fabs(got - want) / unit;
}

static void is_accurate(void **state) {
  (void)state;
  double worst = 0, worst_small = 0;
  for (int32_t i = -1045000; i < 887220; i += 3) {
    float x = (float)i * 1e-4f;
    double e = ulps(one_exp(x), exp(x));
    if (x > -87 && e > worst) worst = e;
    if (x <= -87 && e > worst_small) worst_small = e; /* subnormal results: the last place is coarse */
  }
  print_message("largest error %.3f ulp, %.3f ulp where the result is subnormal\n", worst, worst_small);
  assert_true(worst < 2 && worst_small < 1.01);
}

static void ends_are_right(void **state) {
  (void)state;
  assert_true(one_exp(0) == 1 && one_exp(-0.0f) == 1);
  assert_true(one_exp(INFINITY) == INFINITY && one_exp(88.8f) == INFINITY && one_exp(3e38f) == INFINITY);
  assert_true(one_exp(-INFINITY) == 0 && one_exp(-104) == 0 && one_exp(-3e38f) == 0);
  assert_true(isfinite(one_exp(88.72f)) && one_exp(-103) > 0);
  assert_true(isnan(one_exp(NAN)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(is_accurate), cmocka_unit_test(ends_are_right)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
