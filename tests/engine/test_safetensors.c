/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "engine/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static tri_error err;

/* A file of this header and n bytes of data 0, 1, 2, …; exactly as long, so that a sanitizer sees any step
 * beyond. */
static uint8_t *make(const char *header, size_t n, size_t *len) {
  uint64_t h = strlen(header);
  *len = 8 + h + n;
  uint8_t *p = malloc(*len);
  memcpy(p, &h, 8), memcpy(p + 8, header, h);
  for (size_t i = 0; i < n; i++) p[8 + h + i] = (uint8_t)i;
  return p;
}

static void tensors_are_found_in_place(void **state) {
  (void)state;
  size_t len;
  uint8_t *p = make("{\"__metadata__\":{\"format\":\"pt\"},\"w\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_"
                    "offsets\":[4,16]},"
                    "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                    "\"none\":{\"dtype\":\"U8\",\"shape\":[0,7],\"data_offsets\":[16,16]}}  ",
                    16, &len);
  char path[] = "/tmp/trireme-st-XXXXXX";
  int fd = mkstemp(path);
  assert_int_equal(write(fd, p, len), len);
  close(fd), free(p);
  tri_safetensors *s;
  assert_ok(tri_safetensors_open(&s, path, &err), err);
  assert_string_equal(tri_safetensors_path(s), path);
  assert_int_equal(tri_safetensors_count(s), 3);
  assert_string_equal(tri_safetensors_at(s, 0)->name, "a");
  assert_null(tri_safetensors_at(s, 3));
  const tri_safetensor *w = tri_safetensors_find(s, "w"), *a = tri_safetensors_find(s, "a");
  assert_true(w->dtype == TRI_DTYPE_BF16 && w->n_dims == 2 && w->dims[0] == 2 && w->dims[1] == 3 &&
              w->count == 6 && w->bytes == 12);
  assert_int_equal(w->data[0], 4);
  assert_int_equal(w->data[11], 15);
  assert_true(a->n_dims == 0 && a->count == 1 && a->bytes == 4);
  assert_int_equal(tri_safetensors_find(s, "none")->count, 0);
  assert_null(tri_safetensors_find(s, "__metadata__"));
  tri_safetensors_close(&s);
  tri_safetensors_close(&s); /* allowed again */
  unlink(path);
}

static void each_wrong_header_has_its_error(void **state) {
  (void)state;
#define ENTRY(dtype, shape, offsets)                                                                         \
  "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
  static const struct {
    const char *header;
    tri_status status;
    const char *part;
  } cases[] = {
      {"", TRI_E_FORMAT, "no JSON"},
      {"[]", TRI_E_FORMAT, "must be a JSON object"},
      {"{\"w\":{}", TRI_E_FORMAT, "no JSON"},
      {"{\"w\":{},\"w\":{}}", TRI_E_FORMAT, "duplicate"},
      {"{\"w\":3}", TRI_E_FORMAT, "tensor w: an object expected"},
      {"{\"w\":{}}", TRI_E_FORMAT, "tensor w: \"dtype\" must be a string"},
      {ENTRY("\"F4\"", "[4]", "[0,16]"), TRI_E_UNSUPPORTED, "dtype \"F4\" is unknown"},
      {ENTRY("\"F32\"", "4", "[0,16]"), TRI_E_FORMAT, "\"shape\" must be an array"},
      {ENTRY("\"F32\"", "[-4]", "[0,16]"), TRI_E_FORMAT, "shape[0] must be"},
      {ENTRY("\"F32\"", "[4.0]", "[0,16]"), TRI_E_FORMAT, "shape[0] must be"},
      {ENTRY("\"F32\"", "[1,1,1,1,1,1,1,1,4]", "[0,16]"), TRI_E_UNSUPPORTED, "9 dimensions"},
      {ENTRY("\"F32\"", "[9223372036854775807,9]", "[0,16]"), TRI_E_FORMAT, "more elements"},
      {ENTRY("\"F32\"", "[9223372036854775807]", "[0,16]"), TRI_E_FORMAT, "more bytes"},
      {ENTRY("\"F32\"", "[99999999999999999999]", "[0,16]"), TRI_E_FORMAT, "no JSON"},
      {ENTRY("\"F32\"", "[4]", "[0]"), TRI_E_FORMAT, "must be two integers"},
      {ENTRY("\"F32\"", "[4]", "[\"0\",16]"), TRI_E_FORMAT, "must be two integers"},
      {ENTRY("\"F32\"", "[4]", "[-16,0]"), TRI_E_FORMAT, "lie outside the 16 bytes"},
      {ENTRY("\"F32\"", "[4]", "[16,0]"), TRI_E_FORMAT, "lie outside"},
      {ENTRY("\"F32\"", "[4]", "[1,17]"), TRI_E_FORMAT, "lie outside"},
      {ENTRY("\"F32\"", "[4]", "[0,9223372036854775807]"), TRI_E_FORMAT, "lie outside"},
      {ENTRY("\"F32\"", "[4]", "[0,12]"), TRI_E_FORMAT, "12 bytes of data where its shape and dtype need 16"},
      {ENTRY("\"F32\"", "[4]", "[0,16]"), TRI_OK, ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t len;
    uint8_t *p = make(cases[i].header, 16, &len);
    tri_safetensors *s = NULL;
    err.text[0] = 0;
    tri_status status = tri_safetensors_open_memory(&s, p, len, "bad", &err);
    if (status != cases[i].status || !strstr(err.text, cases[i].part))
      fail_msg("case %zu: %s \"%s\"; %s \"%s\" expected", i, tri_status_name(status), err.text,
               tri_status_name(cases[i].status), cases[i].part);
    tri_safetensors_close(&s);
    free(p);
  }
}

static void header_lengths_are_checked(void **state) {
  (void)state;
  tri_safetensors *s = NULL;
  uint64_t file[3] = {16, 0, 0};
  assert_fails(tri_safetensors_open_memory(&s, file, 7, "bad", &err), TRI_E_FORMAT, err, "too short");
  file[0] = 17;
  assert_fails(tri_safetensors_open_memory(&s, file, sizeof file, "bad", &err), TRI_E_FORMAT, err,
               "17 bytes in a file of 24");
  file[0] = UINT64_MAX;
  assert_fails(tri_safetensors_open_memory(&s, file, sizeof file, "bad", &err), TRI_E_LIMIT, err,
               "not a safetensors file?");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors_are_found_in_place),
      cmocka_unit_test(each_wrong_header_has_its_error),
      cmocka_unit_test(header_lengths_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
