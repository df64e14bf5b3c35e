/* SPDX-License-Identifier: MIT */
/* Models in several files: they run as one, and each way in which the parts can disagree has its error. */
#include "engine/convert.h"
#include "engine/single.h"
#include "tests/engine/paths.h"
#include "tests/engine/plain_file.h"
#include "tests/npy.h"

enum { TOKENS = 8, VOCAB = 64, PARTS = 3 };
static const plain small = {
    .arch = "llama", .rope_scale = 1, .d = 128, .layers = 2, .heads = 4, .kv = 2, .hd = 64, .ffn = 256, .vocab = VOCAB};
static tri_error err;
static char parts[PARTS][128];

static int make_parts(void **state) {
  if (make_paths(state) != 0) return -1;
  for (int i = 0; i < PARTS; i++) snprintf(parts[i], sizeof parts[i], "%s/m-%05d-of-%05d.gguf", paths_dir, i + 1, PARTS);
  return 0;
}
static int remove_parts(void **state) {
  for (int i = 0; i < PARTS; i++) unlink(parts[i]);
  return remove_paths(state);
}

typedef struct part {
  const char *path;
  uint32_t no, count, total; /* total: split.tensors.count, 0: no such key */
  size_t first;              /* gets every third tensor from this one on */
  size_t left_out;           /* but this one */
} part;

static tri_str printed(tri_str s, char out[80]) {
  snprintf(out, 80, "%.*s", (int)s.len, s.data);
  return (tri_str){out, s.len};
}

/* Keys and tensors as gguf-split places them: all metadata in the first file, its own keys in each. */
static void write_part(const tri_gguf *g, const part *p) {
  tri_gguf_writer *w;
  char name[80];
  assert_ok(tri_gguf_writer_open(&w, p->path, &err), err);
  for (size_t i = 0; i < tri_gguf_kv_count(g) && p->first == 0; i++) tri_gguf_writer_copy(w, tri_gguf_kv_at(g, i));
  tri_gguf_writer_u32(w, "split.no", p->no), tri_gguf_writer_u32(w, "split.count", p->count);
  if (p->total) tri_gguf_writer_u32(w, "split.tensors.count", p->total);
  for (size_t i = p->first; i < tri_gguf_tensor_count(g); i += PARTS) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    if (i != p->left_out) tri_gguf_writer_tensor(w, printed(t->name, name).data, t->type, t->n_dims, t->dims);
  }
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  for (size_t i = p->first; i < tri_gguf_tensor_count(g); i += PARTS) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    if (i != p->left_out) assert_ok(tri_gguf_writer_data(w, t->data, t->bytes, &err), err);
  }
  assert_ok(tri_gguf_writer_commit(&w, &err), err);
}

/* paths[0] in parts, one of them changed by `odd` if that isn't NULL. */
static void split(const part *odd, size_t which) {
  tri_gguf *g;
  plain_write_file(paths[0], &(plain_file){.p = small});
  assert_ok(tri_gguf_open(&g, paths[0], &err), err);
  for (size_t i = 0; i < PARTS; i++) {
    part p = {parts[i], (uint32_t)i, PARTS, (uint32_t)tri_gguf_tensor_count(g), i, SIZE_MAX};
    write_part(g, odd && i == which ? odd : &p);
  }
  tri_gguf_close(&g);
}

static void run(const char *path, float *logits, uint8_t id[TRI_MODEL_ID_BYTES]) {
  int32_t tokens[TOKENS] = {3, 14, 15, 9, 26, 5, 35, 58};
  tri_single s;
  tri_single_options o = {.threads = 2, .kv_type = TRI_F32, .max_rows = 16};
  assert_ok(tri_single_open(&s, path, &o, &err), err);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, logits, &err), err);
  tri_model_id(s.model, id);
  tri_single_close(&s);
}

static void parts_run_and_convert_as_the_whole_does(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
  uint8_t whole[TRI_MODEL_ID_BYTES], id[TRI_MODEL_ID_BYTES], other[TRI_MODEL_ID_BYTES];
  tri_convert_options o = {.linear_type = TRI_TYPE_I2_S};
  split(NULL, 0);
  run(paths[0], want, whole);
  run(parts[0], got, id);
  assert_memory_equal(got, want, sizeof want);
  assert_ok(tri_convert_gguf(parts[0], paths[1], &o, &err), err);
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, paths[1], &err), err);
  assert_true(!tri_gguf_kv_find(g, "split.count") && tri_gguf_part_count(g) == 1);
  tri_gguf_close(&g);
  run(paths[1], got, other);
  assert_memory_equal(got, want, sizeof want);
  /* the id is of all parts' headers */
  part moved = {parts[2], 2, PARTS, 0, 2, SIZE_MAX};
  split(&moved, 2);
  run(parts[0], got, other);
  assert_true(memcmp(id, other, sizeof id) != 0);
}

/* What another program's splitter wrote. */
static void parts_of_gguf_split_are_one_model(void **state) {
  (void)state;
  static const plain tiny = {.arch = "llama", .rope_scale = 1, .tied = true, .d = 64, .layers = 1, .heads = 2, .kv = 1, .hd = 32, .ffn = 64,
                             .vocab = 16};
  static float want[TOKENS * 16], got[TOKENS * 16];
  static const int32_t tokens[TOKENS] = {3, 14, 15, 9, 2, 6, 5, 3};
  tri_single s;
  tri_single_options o = {.threads = 1, .kv_type = TRI_F32, .max_rows = 16};
  assert_ok(tri_single_open(&s, TRIREME_FIXTURES "/split/tiny-00001-of-00003.gguf", &o, &err), err);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, got, &err), err);
  tri_single_close(&s);
  plain_run(&tiny, tokens, TOKENS, want);
  assert_true(relative_rms(got, want, TOKENS * 16) < 1e-6);
}

static void parts_that_disagree_have_their_error(void **state) {
  (void)state;
  const struct {
    part odd;
    size_t which;
    const char *message;
  } cases[] = {
      {{parts[1], 2, PARTS, 0, 1, SIZE_MAX}, 1, "it is part 3 of 3; part 2 of 3 is needed beside"},
      {{parts[2], 2, 4, 0, 2, SIZE_MAX}, 2, "it is part 3 of 4; part 3 of 3 is needed beside"},
      {{parts[1], 1, PARTS, 0, 1, 4}, 1, "its parts have 20 tensors, but split.tensors.count is 21"},
      {{parts[1], 1, PARTS, 0, 0, SIZE_MAX}, 1, "stands twice"},
      {{parts[0], 0, 5000, 0, 0, SIZE_MAX}, 0, "the second from 1 to 1024 and above the first"},
      {{parts[0], 3, PARTS, 0, 0, SIZE_MAX}, 0, "the second from 1 to 1024 and above the first"},
      {{parts[0], 0, 2, 0, 0, SIZE_MAX}, 0, "its name must end in -00001-of-00002.gguf"},
  };
  tri_gguf *g = NULL;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    split(&cases[i].odd, cases[i].which);
    assert_fails(tri_gguf_open(&g, parts[0], &err), TRI_E_FORMAT, err, cases[i].message);
  }
  split(NULL, 0);
  assert_fails(tri_gguf_open(&g, parts[1], &err), TRI_E_INVALID, err, "is part 2 of 3: give the first one, ");
  assert_non_null(strstr(err.text, parts[0]));
  unlink(parts[2]);
  assert_fails(tri_gguf_open(&g, parts[0], &err), TRI_E_NOT_FOUND, err, "m-00003-of-00003.gguf");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_run_and_convert_as_the_whole_does),
      cmocka_unit_test(parts_of_gguf_split_are_one_model),
      cmocka_unit_test(parts_that_disagree_have_their_error),
  };
  return cmocka_run_group_tests(tests, make_parts, remove_parts);
}
