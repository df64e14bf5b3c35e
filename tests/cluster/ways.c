/* SPDX-License-Identifier: MIT */
#include "tests/cluster/ways.h"

#include <stdlib.h>
#include "engine/draw.h"
#include "engine/single.h"

static const char prompt[] = "Once upon a time there was a little girl who lived in a house by the river, and every morning she went down";
static tri_error err;
static tri_single single;
static tri_ids ids; /* of the prompt, BOS included */

/* Jobs of each kind. */
static const char words[] = "root ::= ([a-z]{1,9} \", \"){40} [a-z]+ \".\"";
static struct kind {
  tri_msg_submit request;
  tri_buf payload;
  lab_job want; /* what comes of it undisturbed */
} kinds[WAYS_KINDS];

/* --- what it would have been --- */

/* With the engine alone, in this process, as `trireme run` does it. */
static void check_here(const struct kind *k) {
  tri_ids all = {0};
  tri_sampler *sampler;
  tri_lexicon *lexicon = NULL;
  tri_draw draw = {0};
  size_t vocab = (size_t)tri_model_shape(single.model)->vocab, n_top;
  float *row = malloc(vocab * sizeof *row);
  tri_sample s, top[TRI_SAMPLER_TOP];
  assert_ok(tri_sampler_create(&sampler, vocab, single.kernels, &err), err);
  tri_draw_begin(&draw, &k->request.sampling, (uint32_t)ids.len, (const char *)k->payload.data, k->request.grammar_bytes, &lexicon,
                 tri_model_tokenizer(single.model), vocab, 1);
  for (size_t i = 0; i < ids.len; i++) assert_int_equal(tri_ids_push(&all, ids.data[i]), TRI_OK);
  assert_ok(tri_single_feed(&single, 0, 0, all.data, all.len, row, &err), err);
  for (size_t i = 0; i < k->want.ids.len; i++) {
    assert_ok(tri_draw_next(&draw, sampler, vocab, row, all.data, all.len, &s, top, &n_top, &err), err);
    assert_int_equal(s.token, k->want.ids.data[i]);
    assert_memory_equal(&s.logprob, &k->want.logprobs[i], sizeof s.logprob);
    assert_int_equal(tri_ids_push(&all, s.token), TRI_OK);
    assert_ok(tri_single_feed(&single, 0, (int32_t)all.len - 1, &s.token, 1, row, &err), err);
  }
  tri_draw_end(&draw);
  tri_lexicon_destroy(&lexicon);
  tri_sampler_destroy(&sampler);
  tri_ids_free(&all);
  free(row);
}

static void make_kinds(void) {
  const tri_sampler_params lively = {.temperature = 0.9f, .top_k = 50, .top_p = 0.95f, .typical_p = 0.9f, .repeat_penalty = 1.2f,
                                     .frequency_penalty = 0.3f, .presence_penalty = 0.2f, .repeat_last = 40, .seed = 11, .top = 3};
  for (int i = 0; i < WAYS_KINDS; i++) kinds[i].request = lab_request(i == WAYS_SCORED ? TRI_WANT_SCORE : TRI_WANT_SAMPLE, WAYS_PREDICT);
  kinds[WAYS_GREEDY].request.ignore_end = kinds[WAYS_SEEDED].request.ignore_end = kinds[WAYS_STOPPED].request.ignore_end = true;
  kinds[WAYS_SEEDED].request.sampling = kinds[WAYS_GRAMMAR].request.sampling = kinds[WAYS_STOPPED].request.sampling = lively;
  kinds[WAYS_STOPPED].request.sampling.seed = 5;
  kinds[WAYS_GRAMMAR].request.grammar = TRI_LANG_GBNF, kinds[WAYS_GRAMMAR].request.grammar_bytes = sizeof words - 1;
  tri_buf_append(&kinds[WAYS_GRAMMAR].payload, words, sizeof words - 1);
  for (int i = 0; i < WAYS_SCORED; i++) tri_buf_append(&kinds[i].payload, prompt, sizeof prompt - 1);
  kinds[WAYS_SCORED].request.ids = true;
  for (int i = 0; i < 8; i++) tri_buf_append(&kinds[WAYS_SCORED].payload, ids.data, ids.len * sizeof *ids.data);
}

static void submit(tri_client *c, const struct kind *k) { lab_submit(c, &k->request, k->payload.data, k->payload.len); }

tri_cluster *ways_start(tri_cluster_options o) {
  tri_cluster *c;
  o.model_path = LAB_MODEL, o.lasting = true, o.threads = 1, o.wire = TRI_WIRE_F32, o.kv_type = TRI_F16, o.context = LAB_CONTEXT;
  o.slots = 2;
  if (!o.lost_after_s) o.lost_after_s = 3;
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  return c;
}

int ways_prepare(void **state) {
  if (lab_begin(state) != 0) return -1;
  tri_single_options o = {.threads = 1, .context = LAB_CONTEXT, .kv_type = TRI_F16};
  if (tri_single_open(&single, LAB_MODEL, &o, &err) != TRI_OK) return print_error("%s\n", err.text), -1;
  const tri_tokenizer *t = tri_model_tokenizer(single.model);
  if (tri_tokenizer_adds_bos(t)) assert_int_equal(tri_ids_push(&ids, tri_tokenizer_bos(t)), TRI_OK);
  assert_ok(tri_tokenizer_encode(t, prompt, sizeof prompt - 1, false, &ids, &err), err);
  make_kinds();
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 1});
  tri_client *client = lab_dial(c);
  for (int i = 0; i < WAYS_KINDS; i++) {
    struct kind *k = &kinds[i];
    submit(client, k);
    lab_collect(client, &k->want);
    if (k->want.refused) return print_error("%s\n", k->want.refusal), -1;
    if (i == WAYS_STOPPED) { /* now that it is known what it says */
      memcpy(k->request.stops[k->request.n_stops++], k->want.text.data + k->want.text.len - 40, 6);
      lab_job_free(&k->want);
      submit(client, k);
      lab_collect(client, &k->want);
      assert_int_equal(k->want.done.reason, TRI_DONE_STOP);
    }
    if (i != WAYS_SCORED) check_here(k);
  }
  tri_client_close(&client);
  tri_cluster_stop(&c);
  return 0;
}

int ways_clean_up(void **state) {
  for (int i = 0; i < WAYS_KINDS; i++) {
    tri_buf_free(&kinds[i].payload);
    lab_job_free(&kinds[i].want);
  }
  tri_ids_free(&ids);
  tri_single_close(&single);
  return lab_end(state);
}

/* --- jobs under way --- */

void ways_begin(ways *w, const tri_cluster *c) {
  *w = (ways){0};
  for (int i = 0; i < WAYS_KINDS; i++) {
    w->client[i] = lab_dial(c);
    submit(w->client[i], &kinds[i]);
  }
}

void ways_go_on(ways *w, ways_kind kind, size_t n) {
  while (!w->over[kind] && w->job[kind].n_logprobs < n) w->over[kind] = lab_take(w->client[kind], &w->job[kind]);
}

void ways_finish(ways *w) {
  for (int i = 0; i < WAYS_KINDS; i++) {
    lab_job *got = &w->job[i], *want = &kinds[i].want;
    ways_go_on(w, (ways_kind)i, SIZE_MAX);
    if (got->done.reason != want->done.reason) fail_msg("kind %d: %s%s", i, got->refusal, got->done.error);
    assert_int_equal(got->ids.len, want->ids.len);
    if (want->ids.len) assert_memory_equal(got->ids.data, want->ids.data, want->ids.len * sizeof *want->ids.data);
    assert_int_equal(got->n_logprobs, want->n_logprobs);
    assert_memory_equal(got->logprobs, want->logprobs, want->n_logprobs * sizeof *want->logprobs);
    assert_int_equal(got->text.len, want->text.len);
    if (want->text.len) assert_memory_equal(got->text.data, want->text.data, want->text.len);
    assert_int_equal(got->done.tokens, want->done.tokens);
    lab_job_free(got);
    tri_client_close(&w->client[i]);
  }
}
