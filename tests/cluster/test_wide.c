/* SPDX-License-Identifier: MIT */
/* Rows as wide as a link's payload allows: a step's payload is limited by what the stages agreed on, on both ends. */
#include "tests/cluster/lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "engine/single.h"

/* Few weights, but 64 KiB a row in float32. */
enum { D = 16384, HEAD = 128, FFN = 128, VOCAB = 64, LAYERS = 2, PROMPT = 320, CONTEXT = 400, PREDICT = 3 };

static char path[] = "/tmp/trireme-wide-XXXXXX";
static tri_error err;

static void linear(tri_gguf_writer *w, int layer, const char *name, uint64_t m, uint64_t k) {
  char full[64];
  snprintf(full, sizeof full, "blk.%d.%s.weight", layer, name);
  tri_gguf_writer_tensor(w, full, TRI_TYPE_I2_S, 2, (uint64_t[]){k, m});
}
static void norm(tri_gguf_writer *w, int layer, const char *name) {
  char full[64];
  snprintf(full, sizeof full, "blk.%d.%s.weight", layer, name);
  tri_gguf_writer_tensor(w, full, TRI_TYPE_F32, 1, (uint64_t[]){D});
}

static void put_linear(tri_gguf_writer *w, uint64_t m, uint64_t k, uint64_t *seed) {
  size_t codes = m * k / 4;
  uint8_t *bytes = calloc(codes + 32, 1);
  float scale = 0.01f;
  assert_non_null(bytes);
  for (size_t i = 0; i < codes; i++)
    for (int j = 0; j < 8; j += 2) bytes[i] |= (uint8_t)(test_random(seed) % 3 << j);
  memcpy(bytes + codes, &scale, sizeof scale);
  assert_ok(tri_gguf_writer_data(w, bytes, codes + 32, &err), err);
  free(bytes);
}
static void put_floats(tri_gguf_writer *w, size_t n, bool random, uint64_t *seed) {
  float *x = malloc(n * sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++) x[i] = random ? (float)(test_random(seed) % 2000) / 1000 - 1 : 1;
  assert_ok(tri_gguf_writer_data(w, x, n * sizeof *x, &err), err);
  free(x);
}

static const struct { const char *name; uint64_t m, k; } linears[] = {{"attn_q", HEAD, D}, {"attn_k", HEAD, D}, {"attn_v", HEAD, D},
    {"attn_output", D, HEAD}, {"ffn_gate", FFN, D}, {"ffn_up", FFN, D}, {"ffn_down", D, FFN}};
enum { LINEARS = sizeof linears / sizeof *linears };

static int write_model(void **state) {
  if (lab_begin(state) != 0) return -1;
  int fd = mkstemp(path);
  if (fd < 0) return -1;
  close(fd);
  tri_gguf_writer *w;
  uint64_t seed = 42;
  assert_ok(tri_gguf_writer_open(&w, path, &err), err);
  tri_gguf_writer_str(w, "general.architecture", "llama");
  const struct { const char *key; uint32_t value; } numbers[] = {{"llama.embedding_length", D}, {"llama.block_count", LAYERS},
      {"llama.attention.head_count", 1}, {"llama.attention.key_length", HEAD}, {"llama.feed_forward_length", FFN},
      {"llama.context_length", CONTEXT}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) tri_gguf_writer_u32(w, numbers[i].key, numbers[i].value);
  tri_gguf_writer_tensor(w, "token_embd.weight", TRI_TYPE_F32, 2, (uint64_t[]){D, VOCAB});
  tri_gguf_writer_tensor(w, "output_norm.weight", TRI_TYPE_F32, 1, (uint64_t[]){D});
  for (int i = 0; i < LAYERS; i++) {
    norm(w, i, "attn_norm"), norm(w, i, "ffn_norm");
    for (int j = 0; j < LINEARS; j++) linear(w, i, linears[j].name, linears[j].m, linears[j].k);
  }
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  put_floats(w, (size_t)D * VOCAB, true, &seed);
  put_floats(w, D, false, &seed);
  for (int i = 0; i < LAYERS; i++) {
    put_floats(w, D, false, &seed), put_floats(w, D, false, &seed);
    for (int j = 0; j < LINEARS; j++) put_linear(w, linears[j].m, linears[j].k, &seed);
  }
  assert_ok(tri_gguf_writer_commit(&w, &err), err);
  return 0;
}
static int remove_model(void **state) {
  unlink(path);
  return lab_end(state);
}

static void steps_larger_than_usual_pass_every_link(void **state) {
  (void)state;
  int32_t ids[PROMPT], want[PREDICT];
  float logits[VOCAB];
  for (int i = 0; i < PROMPT; i++) ids[i] = (i * 29 + 3) % VOCAB;
  tri_single s;
  assert_ok(tri_single_open(&s, path, &(tri_single_options){.threads = 1, .kv_type = TRI_F16}, &err), err);
  assert_ok(tri_single_feed(&s, 0, 0, ids, PROMPT, logits, &err), err);
  for (int i = 0; i < PREDICT; i++) {
    want[i] = 0;
    for (int32_t j = 1; j < VOCAB; j++)
      if (logits[j] > logits[want[i]]) want[i] = j;
    assert_ok(tri_single_feed(&s, 0, PROMPT + i, &want[i], 1, logits, &err), err);
  }
  tri_single_close(&s);
  tri_cluster *c;
  tri_cluster_options o = {.model_path = path, .workers = 2, .threads = 1, .wire = TRI_WIRE_F32, .kv_type = TRI_F16};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  tri_client *client = lab_dial(c);
  lab_job job;
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, PREDICT);
  m.ids = true;
  lab_run(client, &m, ids, sizeof ids, &job); /* in chunks of 96 rows: 6 MiB each */
  assert_string_equal(job.done.error, "");
  assert_int_equal(job.ids.len, PREDICT);
  assert_memory_equal(job.ids.data, want, sizeof want);
  lab_job_free(&job);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(steps_larger_than_usual_pass_every_link)};
  return cmocka_run_group_tests(tests, write_model, remove_model);
}
