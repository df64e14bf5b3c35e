/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "base/file.h"
#include "base/units.h"

#include <ctype.h>
#include <stdlib.h>

/* Every code that a status can become is explained, and nothing else is. */
static void every_exit_code_is_explained(void **state) {
  (void)state;
  char text[] = ", " TRI_STATUS_EXIT_CODES, number[16];
  int explained = 0, seen[256] = {0};
  for (const char *p = text; (p = strstr(p, ", ")); p += 2) explained += isdigit((unsigned char)p[2]) != 0;
  for (int status = -64; status <= 0; status++) {
    int code = tri_status_exit_code((tri_status)status);
    snprintf(number, sizeof number, ", %d ", code);
    if (!strstr(text, number)) fail_msg("exit code %d of status %d is not explained", code, status);
    seen[code]++;
  }
  for (int code = 0; code < 256; code++) explained -= seen[code] > 0;
  assert_int_equal(explained, 0);
  assert_int_equal(tri_status_exit_code(TRI_E_UNREACHABLE), 4);
  assert_int_equal(tri_status_exit_code(TRI_E_TIMEOUT), 5);
  assert_int_equal(tri_status_exit_code(TRI_E_CANCELLED), 130);
}

static void the_readme_says_the_same(void **state) {
  (void)state;
  tri_buf text = {0};
  tri_error err;
  assert_ok(tri_file_read(&text, TRIREME_SOURCE "/README.md", 1 << 20, &err), err);
  for (size_t i = 0; i < text.len; i++)
    if (text.data[i] == '\n') text.data[i] = ' ';
  assert_non_null(strstr((char *)text.data, "Exit codes: " TRI_STATUS_EXIT_CODES "."));
  tri_buf_free(&text);
}

static void bytes_are_told_in_powers_of_1000(void **state) {
  (void)state;
  assert_string_equal(TRI_UNITS(0), "0 B");
  assert_string_equal(TRI_UNITS(999), "999 B");
  assert_string_equal(TRI_UNITS(1000), "1.0 kB");
  assert_string_equal(TRI_UNITS(12345678), "12.3 MB");
  assert_string_equal(TRI_UNITS(3ull << 30), "3.22 GB");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_exit_code_is_explained), cmocka_unit_test(the_readme_says_the_same),
                                     cmocka_unit_test(bytes_are_told_in_powers_of_1000)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
