/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "base/args.h"

static const char *model;
static int64_t n, memory;
static double temp;
static bool follow;
static tri_args_list keys;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model, "FILE", "model", 0, 0},
    {"predict", 'n', TRI_ARG_INT, &n, "N", "tokens", 1, 100},
    {"memory", 0, TRI_ARG_SIZE, &memory, "SIZE", "memory", 0, 0},
    {"temp", 0, TRI_ARG_FLOAT, &temp, "T", "temperature", 0, 5},
    {"follow", 'f', TRI_ARG_FLAG, &follow, NULL, "follow", 0, 0},
    {"key", 0, TRI_ARG_MULTI, &keys, "K", "keys", 0, 0},
};
static const tri_args_spec spec = {"trireme test", "Test.", "[options]", NULL, args, 6};
static tri_error err;

static tri_status parse(int *positionals, char **argv) {
  int argc = 0;
  while (argv[argc]) argc++;
  bool helped;
  model = NULL, n = 0, memory = 0, temp = 0, follow = false, keys.count = 0;
  return tri_args_parse(&spec, argc, argv, positionals, &helped, &err);
}
#define PARSE(pos, ...) parse(pos, (char *[]){"x", __VA_ARGS__, NULL})

static void accepts_every_form(void **state) {
  (void)state;
  int pos;
  assert_ok(PARSE(&pos, "-m", "a.gguf", "--predict=7", "-temp", "0.7", "-f", "--memory", "700M", "one", "--key", "a", "--key", "b", "--",
                  "-two"), err);
  assert_string_equal(model, "a.gguf");
  assert_int_equal(n, 7);
  assert_true(temp > 0.69 && temp < 0.71);
  assert_true(follow);
  assert_int_equal(memory, 700 << 20);
  assert_int_equal(keys.count, 2);
  assert_int_equal(pos, 2);
  assert_ok(PARSE(&pos, "-n12"), err);
  assert_int_equal(n, 12);
}

static void refuses_with_advice(void **state) {
  (void)state;
  int pos;
  assert_fails(PARSE(&pos, "--modle", "a"), TRI_E_INVALID, err, "did you mean --model");
  assert_fails(PARSE(&pos, "-tmep", "1"), TRI_E_INVALID, err, "did you mean --temp");
  assert_fails(PARSE(&pos, "--predict", "0"), TRI_E_INVALID, err, "between 1 and 100");
  assert_fails(PARSE(&pos, "--predict", "7x"), TRI_E_INVALID, err, "not a whole number");
  assert_fails(PARSE(&pos, "--temp", "nan"), TRI_E_INVALID, err, "not a number");
  assert_fails(PARSE(&pos, "--memory", "-5"), TRI_E_INVALID, err, "not a size");
  assert_fails(PARSE(&pos, "-m"), TRI_E_INVALID, err, "needs a value");
  assert_fails(PARSE(&pos, "--follow=1"), TRI_E_INVALID, err, "takes no value");
  assert_fails(PARSE(&pos, "--help=tex"), TRI_E_INVALID, err, "man, bash and zsh");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(accepts_every_form), cmocka_unit_test(refuses_with_advice)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
