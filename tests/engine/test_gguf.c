/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "engine/gguf.h"

#include <stdlib.h>
#include <unistd.h>

static tri_error err;

/* --- what the writer wrote --- */

static char path[64];

static int make_path(void **state) {
  (void)state;
  strcpy(path, "/tmp/trireme-gguf-XXXXXX");
  int fd = mkstemp(path);
  return fd < 0 || close(fd) || unlink(path);
}

static tri_str text(const char *s) { return (tri_str){s, strlen(s)}; }
static void assert_str(tri_str s, const char *want) {
  assert_int_equal(s.len, strlen(want));
  assert_memory_equal(s.data, want, s.len);
}

static const float norm[3] = {1, 2, 3};
static uint8_t linear[128 * 2 / 4 + 32];

static tri_gguf_writer *open_writer(void) {
  tri_gguf_writer *w;
  assert_ok(tri_gguf_writer_open(&w, path, &err), err);
  return w;
}

static void write_sample(void) {
  tri_gguf_writer *w = open_writer();
  tri_gguf_writer_str(w, "general.architecture", "llama");
  tri_gguf_writer_u32(w, "u", 4000000000u);
  tri_gguf_writer_f32(w, "f", 0.5f);
  tri_gguf_writer_bool(w, "b", true);
  tri_gguf_writer_strs(w, "names", (tri_str[]){text("a"), text(""), text("ccc")}, 3);
  tri_gguf_writer_i32s(w, "ids", (int32_t[]){-1, 7}, 2);
  tri_gguf_writer_f32s(w, "empty", NULL, 0);
  tri_gguf_writer_tensor(w, "norm", TRI_TYPE_F32, 1, (uint64_t[]){3});
  tri_gguf_writer_tensor(w, "linear", TRI_TYPE_I2_S, 2, (uint64_t[]){128, 2});
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  uint8_t data[sizeof norm + sizeof linear];
  for (size_t i = 0; i < sizeof linear; i++) linear[i] = (uint8_t)(i * 3);
  memcpy(data, norm, sizeof norm), memcpy(data + sizeof norm, linear, sizeof linear);
  for (size_t at = 0, n; at < sizeof data; at += n) { /* pieces that cross the tensors' border */
    n = sizeof data - at < 7 ? sizeof data - at : 7;
    assert_ok(tri_gguf_writer_data(w, data + at, n, &err), err);
  }
  assert_int_equal(access(path, F_OK), -1);
  assert_ok(tri_gguf_writer_commit(&w, &err), err);
  assert_null(w);
}

static void a_written_file_reads_back(void **state) {
  (void)state;
  write_sample();
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  uint64_t u;
  double f;
  bool b = false;
  tri_str s;
  assert_true(tri_gguf_get_str(g, "general.architecture", &s));
  assert_str(s, "llama");
  assert_true(tri_gguf_get_u64(g, "u", &u) && u == 4000000000u);
  assert_true(tri_gguf_get_f64(g, "f", &f) && f == 0.5);
  assert_true(tri_gguf_get_bool(g, "b", &b) && b);
  assert_false(tri_gguf_get_u64(g, "f", &u) || tri_gguf_get_f64(g, "u", &f) ||
               tri_gguf_get_bool(g, "none", &b) || tri_gguf_get_str(g, "names", &s));
  const tri_gguf_kv *names = tri_gguf_kv_find(g, "names");
  static const char *const want[] = {"a", "", "ccc"};
  size_t pos = 0;
  for (int i = 0; i < 3; i++) assert_true(tri_gguf_next_str(names, &pos, &s)), assert_str(s, want[i]);
  assert_false(tri_gguf_next_str(names, &pos, &s));
  assert_int_equal(tri_gguf_kv_find(g, "empty")->count, 0);
  assert_int_equal(tri_gguf_kv_count(g), 7);
  const tri_gguf_tensor *t = tri_gguf_find(g, "norm");
  assert_int_equal(tri_gguf_tensor_count(g), 2);
  assert_true(t == tri_gguf_tensor_at(g, 0) && t->n_dims == 1 && t->dims[0] == 3 && t->dims[1] == 1 &&
              t->bytes == sizeof norm);
  assert_memory_equal(t->data, norm, sizeof norm);
  t = tri_gguf_find(g, "linear");
  assert_true(t->type == TRI_TYPE_I2_S && t->dims[0] == 128 && t->dims[1] == 2 && t->bytes == sizeof linear);
  assert_memory_equal(t->data, linear, sizeof linear);
  assert_int_equal((uintptr_t)t->data % 32, 0);
  assert_null(tri_gguf_find(g, "nor"));
  assert_int_equal(tri_gguf_header(g, 0).len,
                   (size_t)(tri_gguf_tensor_at(g, 0)->data - (const uint8_t *)tri_gguf_header(g, 0).data));
  tri_gguf_close(&g);
  assert_null(g);
  unlink(path);
}

static void copied_metadata_is_the_same(void **state) {
  (void)state;
  char first[sizeof path];
  tri_gguf *a, *b;
  write_sample();
  snprintf(first, sizeof first, "%s", path);
  assert_ok(tri_gguf_open(&a, first, &err), err);
  assert_int_equal(make_path(NULL), 0);
  tri_gguf_writer *w = open_writer();
  for (size_t i = 0; i < tri_gguf_kv_count(a); i++) tri_gguf_writer_copy(w, tri_gguf_kv_at(a, i));
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  assert_ok(tri_gguf_writer_commit(&w, &err), err);
  assert_ok(tri_gguf_open(&b, path, &err), err);
  assert_int_equal(tri_gguf_kv_count(b), tri_gguf_kv_count(a));
  for (size_t i = 0; i < tri_gguf_kv_count(a); i++) {
    const tri_gguf_kv *x = tri_gguf_kv_at(a, i), *y = tri_gguf_kv_at(b, i);
    assert_true(x->type == y->type && x->element_type == y->element_type && x->count == y->count &&
                x->bytes == y->bytes);
    assert_memory_equal(x->data, y->data, x->bytes);
  }
  tri_gguf_close(&a), tri_gguf_close(&b);
  unlink(first), unlink(path);
}

static void a_writers_mistakes_are_told(void **state) {
  (void)state;
  const uint64_t dims[] = {4, 1, 1, 1, 1};
  tri_gguf_writer *w = open_writer();
  tri_gguf_writer_tensor(w, "t", TRI_TYPE_F32, 1, dims);
  assert_fails(tri_gguf_writer_data(w, "1234", 4, &err), TRI_E_INTERNAL, err, "before the header");
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  assert_ok(tri_gguf_writer_data(w, "12345678", 8, &err), err);
  assert_fails(tri_gguf_writer_commit(&w, &err), TRI_E_INTERNAL, err, "tensor t got 8 of its 16 bytes");
  w = open_writer();
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  assert_fails(tri_gguf_writer_data(w, "1", 1, &err), TRI_E_INTERNAL, err, "more data");
  tri_gguf_writer_abort(&w);
  tri_gguf_writer_abort(&w); /* allowed again */
  static const struct {
    uint32_t type;
    int n_dims;
    const char *part;
  } wrong[] = {{TRI_TYPE_I2_S, 2, "whole blocks"},
               {17, 1, "whole blocks"},
               {TRI_TYPE_F32, 5, "dimensions"},
               {TRI_TYPE_F32, 0, "dimensions"}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    w = open_writer();
    tri_gguf_writer_tensor(w, "bad", wrong[i].type, wrong[i].n_dims, dims);
    assert_fails(tri_gguf_writer_begin(w, &err), TRI_E_INVALID, err, wrong[i].part);
    tri_gguf_writer_abort(&w);
  }
  assert_int_equal(access(path, F_OK), -1);
}

/* --- hostile files: one good file, and what each wrong field makes of it --- */

static tri_buf good;
static struct {
  size_t magic, version, n_tensors, n_kvs;
  size_t key_len, align_type, align, str_len, strs_type, strs_count, second_len, boolean, u8s_count, twin_key;
  size_t name_len, n_dims, dim, type, offset, odd_offset, i2s_dim, i2s_offset, i2s_name;
} at;

static size_t u32(uint32_t v) { return tri_buf_append(&good, &v, sizeof v), good.len - sizeof v; }
static size_t u64(uint64_t v) { return tri_buf_append(&good, &v, sizeof v), good.len - sizeof v; }
static size_t str(const char *s) {
  size_t start = u64(strlen(s));
  return tri_buf_append(&good, s, strlen(s)), start;
}

static void put_kvs(void) {
  at.key_len = str("general.alignment");
  at.align_type = u32(TRI_GGUF_U32), at.align = u32(32);
  str("one.text"), u32(TRI_GGUF_STRING), at.str_len = str("hello");
  str("texts"), u32(TRI_GGUF_ARRAY), at.strs_type = u32(TRI_GGUF_STRING), at.strs_count = u64(2);
  str("x"), at.second_len = str("yz");
  str("truth"), u32(TRI_GGUF_BOOL), at.boolean = good.len, tri_buf_byte(&good, 1);
  at.twin_key = str("numbersA") + 8, u32(TRI_GGUF_ARRAY), u32(TRI_GGUF_U8), at.u8s_count = u64(3),
  tri_buf_append(&good, "abc", 3);
  str("numbersB"), u32(TRI_GGUF_I16), tri_buf_append(&good, "\xff\xff", 2);
}

static int make_good(void **state) {
  (void)state;
  at.magic = u32(0x46554747), at.version = u32(3), at.n_tensors = u64(3), at.n_kvs = u64(6);
  put_kvs();
  at.name_len = str("tensor.1"), at.n_dims = u32(2), at.dim = u64(4), u64(2), at.type = u32(TRI_TYPE_F32),
  at.offset = u64(0);
  str("tensor.odd"), u32(1), u64(7), u32(17), at.odd_offset = u64(32);
  at.i2s_name = str("tensor.2") + 8, u32(2), at.i2s_dim = u64(128), u64(1), u32(TRI_TYPE_I2_S),
  at.i2s_offset = u64(64);
  while (good.len % 32) tri_buf_byte(&good, 0);
  for (int i = 0; i < 128; i++) tri_buf_byte(&good, (uint8_t)i);
  return !tri_buf_ok(&good);
}
static int free_good(void **state) { return (void)state, tri_buf_free(&good), 0; }

/* Open the first `len` bytes of the good file with `bytes` of value `v` written at `where`; the copy is as
 * long as what is read, so that a sanitizer sees any step beyond. */
static tri_status open_patched(size_t where, size_t bytes, uint64_t v, size_t len) {
  uint8_t *copy = malloc(len ? len : 1);
  memcpy(copy, good.data, len);
  if (bytes) memcpy(copy + where, &v, bytes);
  tri_gguf *g = NULL;
  tri_status status = tri_gguf_open_memory(&g, copy, len, "bad.gguf", &err);
  tri_gguf_close(&g);
  free(copy);
  return status;
}

static void the_good_file_is_good(void **state) {
  (void)state;
  tri_gguf *g;
  assert_ok(tri_gguf_open_memory(&g, good.data, good.len, "good", &err), err);
  const tri_gguf_tensor *odd = tri_gguf_find(g, "tensor.odd");
  assert_true(odd->bytes == 0 && odd->type == 17 && odd->dims[0] == 7);
  assert_string_equal(tri_type_name(17), "unknown");
  uint64_t v;
  assert_false(tri_gguf_get_u64(g, "numbersB", &v)); /* -1 */
  assert_int_equal(tri_gguf_find(g, "tensor.2")->data[0], 64);
  tri_gguf_close(&g);
}

static void each_wrong_field_has_its_error(void **state) {
  (void)state;
  const uint64_t huge = UINT64_MAX / 2;
  const struct {
    size_t where, bytes;
    uint64_t value;
    tri_status status;
    const char *part;
  } cases[] = {
      {at.magic, 4, 0x46554748, TRI_E_FORMAT, "not a GGUF file"},
      {at.version, 4, 1, TRI_E_UNSUPPORTED, "GGUF version 1"},
      {at.version, 4, 2, TRI_E_UNSUPPORTED, "GGUF version 2"},
      {at.version, 4, 4, TRI_E_UNSUPPORTED, "GGUF version 4"},
      {at.version, 4, 0x03000000, TRI_E_UNSUPPORTED, "big-endian"},
      {at.n_tensors, 8, huge, TRI_E_FORMAT, "tensors don't fit"},
      {at.n_tensors, 8, 4, TRI_E_FORMAT, "bad.gguf: "},
      {at.n_kvs, 8, huge, TRI_E_FORMAT, "metadata keys don't fit"},
      {at.n_kvs, 8, 7, TRI_E_FORMAT, "bad.gguf: the file ends inside the tensor table"},
      {at.key_len, 8, 0, TRI_E_FORMAT, "a key of 0 bytes"},
      {at.key_len, 8, UINT64_MAX, TRI_E_FORMAT, "ends inside the metadata"},
      {at.align_type, 4, 13, TRI_E_FORMAT, "key general.alignment: value type 13"},
      {at.align_type, 4, TRI_GGUF_I32, TRI_E_FORMAT, "general.alignment must be"},
      {at.align, 4, 0, TRI_E_FORMAT, "general.alignment must be"},
      {at.align, 4, 24, TRI_E_FORMAT, "general.alignment must be"},
      {at.align, 4, 4, TRI_E_FORMAT, "general.alignment must be"},
      {at.align, 4, 0x80000000, TRI_E_FORMAT, "general.alignment must be"},
      {at.align, 4, 128, TRI_E_FORMAT, "multiple of the alignment, 128"},
      {at.str_len, 8, huge, TRI_E_FORMAT, "inside the value of key one.text"},
      {at.strs_type, 4, TRI_GGUF_ARRAY, TRI_E_UNSUPPORTED, "texts is an array of arrays"},
      {at.strs_type, 4, 99, TRI_E_FORMAT, "element type 99"},
      {at.strs_count, 8, huge, TRI_E_FORMAT, "elements don't fit"},
      {at.second_len, 8, huge, TRI_E_FORMAT, "inside an array of strings"},
      {at.boolean, 1, 2, TRI_E_FORMAT, "key truth: a boolean of value 2"},
      {at.u8s_count, 8, UINT64_MAX, TRI_E_FORMAT, "elements don't fit"},
      {at.twin_key + 7, 1, 'B', TRI_E_FORMAT, "key numbersB stands twice"},
      {at.name_len, 8, 0, TRI_E_FORMAT, "a tensor name of 0 bytes"},
      {at.name_len, 8, 65, TRI_E_FORMAT, "a tensor name of 65 bytes"},
      {at.n_dims, 4, 0, TRI_E_FORMAT, "tensor tensor.1: 0 dimensions"},
      {at.n_dims, 4, 5, TRI_E_FORMAT, "tensor tensor.1: 5 dimensions"},
      {at.dim, 8, 0, TRI_E_FORMAT, "tensor.1: dimension 0 is 0"},
      {at.dim, 8, UINT64_MAX, TRI_E_FORMAT, "more elements than 64 bits"},
      {at.dim, 8, huge, TRI_E_FORMAT, "don't make whole blocks of F32"}, /* the bytes overflow */
      {at.dim, 8, 1 << 20, TRI_E_FORMAT, "needs 8388608 bytes"},
      {at.type, 4, TRI_TYPE_Q8_0, TRI_E_FORMAT, "don't make whole blocks of Q8_0"},
      {at.type, 4, TRI_TYPE_I2_S, TRI_E_FORMAT, "don't make whole blocks of I2_S"},
      {at.offset, 8, 16, TRI_E_FORMAT, "not a multiple of the alignment"},
      {at.offset, 8, 128, TRI_E_FORMAT, "beyond the 128 bytes of tensor data"},
      {at.offset, 8, UINT64_MAX - 31, TRI_E_FORMAT, "beyond the 128 bytes"},
      {at.odd_offset, 8, 160, TRI_E_FORMAT, "tensor tensor.odd: 0 bytes at offset 160"},
      {at.i2s_dim, 8, 64, TRI_E_FORMAT, "don't make whole blocks of I2_S"},
      {at.i2s_offset, 8, 96, TRI_E_FORMAT, "tensor tensor.2: 64 bytes at offset 96"},
      {at.i2s_name + 7, 1, '1', TRI_E_FORMAT, "tensor tensor.1 stands twice"},
      {at.i2s_name + 7, 1, 0x1b, TRI_OK, ""}, /* an odd name alone does no harm … */
      {at.i2s_name + 7, 1, '2', TRI_OK, ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    err.text[0] = 0;
    tri_status status = open_patched(cases[i].where, cases[i].bytes, cases[i].value, good.len);
    if (status != cases[i].status || !strstr(err.text, cases[i].part))
      fail_msg("case %zu: %s \"%s\"; %s \"%s\" expected", i, tri_status_name(status), err.text,
               tri_status_name(cases[i].status), cases[i].part);
    if (status != TRI_OK) assert_ptr_equal(strstr(err.text, "bad.gguf: "), err.text);
  }
}

static void names_in_messages_are_printable(void **state) {
  (void)state;
  char out[8];
  tri_str_printable((tri_str){"a\x1b[2J\xff", 6}, out, sizeof out);
  assert_string_equal(out, "a?[2J?");
  tri_str_printable((tri_str){"0123456789", 10}, out, sizeof out);
  assert_string_equal(out, "0123...");
}

static void no_cut_file_opens(void **state) {
  (void)state;
  for (size_t len = 0; len < good.len; len++)
    if (open_patched(0, 0, 0, len) != TRI_E_FORMAT) fail_msg("cut to %zu bytes: %s", len, err.text);
}

static void any_flipped_byte_is_survived(void **state) {
  (void)state;
  for (size_t i = 0; i < good.len; i++)
    for (int v = 0; v < 256; v += 51) (void)!open_patched(i, 1, (uint64_t)v, good.len);
}

/* --- bytes of types, and a file of bitnet.cpp's --- */

static void types_have_their_sizes(void **state) {
  (void)state;
  uint64_t b = 0;
  assert_true(tri_type_bytes(TRI_TYPE_F32, 6, 3, &b) && b == 24);
  assert_true(tri_type_bytes(TRI_TYPE_BF16, 6, 3, &b) && b == 12);
  assert_true(tri_type_bytes(TRI_TYPE_Q8_0, 64, 32, &b) && b == 68);
  assert_true(tri_type_bytes(TRI_TYPE_Q6_K, 1024, 512, &b) && b == 840);
  assert_false(tri_type_bytes(TRI_TYPE_Q6_K, 1024, 128, &b));
  assert_true(tri_type_bytes(TRI_TYPE_I2_S, 8640ull * 3200, 8640, &b) && b == 8640ull * 3200 / 4 + 32);
  assert_true(tri_type_bytes(TRI_TYPE_TL2, 256 * 768, 768, &b) && b == 27328 + 16384 + 32);
  assert_false(tri_type_bytes(TRI_TYPE_Q8_0, 64, 16, &b));
  assert_false(tri_type_bytes(TRI_TYPE_F32, UINT64_MAX / 2, 1, &b));
  assert_false(tri_type_bytes(TRI_TYPE_F32, 0, 0, &b));
  assert_true(tri_type_bytes(TRI_TYPE_Q4_0, 64, 32, &b) && b == 36);
  assert_false(tri_type_bytes(9, 64, 32, &b));
}

static void bitnet_cpp_files_open(void **state) {
  (void)state;
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, TRIREME_FIXTURES "/bitnetcpp-tiny-llama/model-i2_s.gguf", &err), err);
  uint64_t v;
  double theta;
  assert_true(tri_gguf_get_u64(g, "llama.block_count", &v) && v == 4);
  assert_true(tri_gguf_get_u64(g, "general.file_type", &v) && v == 40);
  assert_true(tri_gguf_get_f64(g, "llama.rope.freq_base", &theta) && theta == 500000);
  assert_int_equal(tri_gguf_kv_find(g, "tokenizer.ggml.tokens")->count, 512);
  int ternary = 0;
  for (size_t i = 0; i < tri_gguf_tensor_count(g); i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    if (t->type != TRI_TYPE_I2_S) continue;
    float scale;
    assert_int_equal(t->bytes, t->dims[0] * t->dims[1] / 4 + 32);
    memcpy(&scale, t->data + t->bytes - 32, sizeof scale);
    assert_true(scale > 0 && scale < 1);
    ternary++;
  }
  assert_int_equal(ternary, 4 * 7);
  assert_int_equal(tri_gguf_find(g, "token_embd.weight")->dims[0], 256);
  tri_gguf_close(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_written_file_reads_back, make_path),
      cmocka_unit_test_setup(copied_metadata_is_the_same, make_path),
      cmocka_unit_test_setup(a_writers_mistakes_are_told, make_path),
      cmocka_unit_test(the_good_file_is_good),
      cmocka_unit_test(each_wrong_field_has_its_error),
      cmocka_unit_test(names_in_messages_are_printable),
      cmocka_unit_test(no_cut_file_opens),
      cmocka_unit_test(any_flipped_byte_is_survived),
      cmocka_unit_test(types_have_their_sizes),
      cmocka_unit_test(bitnet_cpp_files_open),
  };
  return cmocka_run_group_tests(tests, make_good, free_good);
}
