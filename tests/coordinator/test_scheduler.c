/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/scheduler.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>

enum { VOCAB = 1000, CONTEXT = 600, PER_SLOT = (CONTEXT + TRI_KV_BLOCK - 1) / TRI_KV_BLOCK, MAX_ROWS = 64, STAGES = 3, RETRIES = 4 };

static tri_jobs jobs;
static tri_blocks *blocks;
static tri_scheduler scheduler;
static tri_scheduler_action action;
static tri_scheduler_output output;
static tri_msg_open opened; /* of the last step, if a sequence began in it */
static tri_msg_result result;
static tri_buf text, open_payload;
static tri_error err;
static int64_t now_us;

/* Stages alike, of one layer each, which take little longer for 24 rows than for one: so prompts go in panels. */
static void serve(uint32_t epoch, uint32_t stages) {
  static tri_pace pace;
  pace = (tri_pace){.stages = stages, .max_rows = MAX_ROWS};
  for (uint32_t i = 0; i < stages; i++)
    pace.stage[i] = (tri_pace_stage){.worker = {.layer_ns = 24000, .layer_rows_ns = 28800}, .layers = 1, .scale = 1};
  tri_scheduler_start(&scheduler, epoch, &pace);
}

static void serve_blocks(uint32_t slots, uint32_t stages, uint32_t n_blocks, tri_reuse reuse) {
  if (blocks) tri_scheduler_stop(&scheduler);
  tri_blocks_destroy(&blocks);
  assert_ok(tri_blocks_create(&blocks, n_blocks, &err), err);
  tri_scheduler_init(&scheduler, &jobs, blocks, slots, VOCAB, reuse);
  serve(1, stages);
}

/* Enough for all; prompts are always computed. */
static void serve_slots(uint32_t slots, uint32_t stages) { serve_blocks(slots, stages, slots * PER_SLOT, TRI_REUSE_NONE); }

static int start(void **state) {
  (void)state;
  now_us = 1000;
  tri_jobs_init(&jobs, NULL, CONTEXT, VOCAB, &(tri_jobs_limits){.retries = RETRIES});
  serve_slots(1, STAGES);
  return 0;
}

static int stop(void **state) {
  (void)state;
  tri_scheduler_stop(&scheduler);
  tri_blocks_destroy(&blocks);
  tri_jobs_free(&jobs);
  tri_buf_free(&text);
  tri_buf_free(&open_payload);
  return 0;
}

/* A prompt 1, 2, 3, … */
static tri_job *submit(tri_want want, uint32_t n, uint32_t predict) {
  int32_t ids[CONTEXT];
  for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)i + 1;
  tri_msg_submit m = {.protocol = TRI_PROTOCOL, .ids = true, .want = want, .predict = predict,
                      .sampling = {.temperature = 0, .top_p = 1, .repeat_penalty = 1, .seed = 42}};
  tri_incoming from = {.payload = (const uint8_t *)ids, .payload_len = n * sizeof *ids};
  tri_job *job;
  uint32_t ahead;
  assert_ok(tri_jobs_submit(&jobs, &m, &from, now_us, &job, &ahead, &err), err);
  return job;
}

/* A worker's tables, as the steps leave them: never a gap, never a row without a block, and nothing is written where others read. */
static void check_blocks(void) {
  static uint32_t length[TRI_SCHEDULER_SLOTS], table[TRI_SCHEDULER_SLOTS][PER_SLOT];
  uint32_t total = tri_blocks_get_stats(blocks).total;
  for (uint32_t i = 0; i < action.step.n_runs; i++) {
    const tri_run *run = &action.step.runs[i];
    if (run->begins) length[run->slot] = 0;
    if (run->n_blocks) assert_int_equal(run->first_block, length[run->slot]);
    for (uint32_t b = 0; b < run->n_blocks; b++) {
      assert_true(action.step.blocks[run->block + b] < total);
      table[run->slot][run->first_block + b] = action.step.blocks[run->block + b];
      length[run->slot] = run->first_block + b + 1;
    }
    assert_true(run->pos + run->count <= length[run->slot] * TRI_KV_BLOCK);
    for (uint32_t pos = run->pos; pos < run->pos + run->count; pos++)
      for (uint32_t other = 0; other < scheduler.slots; other++)
        for (uint32_t b = 0; scheduler.slot[other].job && other != run->slot && b < scheduler.slot[other].chain.n; b++)
          assert_true(scheduler.slot[other].chain.blocks[b] != table[run->slot][pos / TRI_KV_BLOCK]);
  }
}

static bool next(void) {
  while (tri_scheduler_admit(&scheduler, now_us)) {}
  now_us++;
  if (!tri_scheduler_next(&scheduler, &action)) return false;
  tri_buf_clear(&open_payload);
  if (action.n_opens) tri_scheduler_open(&scheduler, &action, action.n_opens - 1, &opened, &open_payload);
  check_blocks();
  return true;
}

static bool more(void) {
  tri_buf_clear(&text);
  return tri_scheduler_output_next(&scheduler, &result, now_us, &output, &text);
}

/* `result` comes back; what it means for the first job that it means anything to. */
static tri_status come_back(size_t payload) {
  tri_status status = tri_scheduler_result(&scheduler, &result, payload, &err);
  now_us++;
  output = (tri_scheduler_output){0};
  if (status == TRI_OK && !more()) output.job = NULL;
  return status;
}

static tri_status answer(uint64_t id, uint32_t tokens, uint32_t logprobs, size_t payload) {
  result = (tri_msg_result){.epoch = 1, .id = id, .n_tokens = tokens, .n_logprobs = logprobs, .tokens = {700, 701, 702, 703}};
  return come_back(payload);
}

static void prompts_flow_in_chunks_then_tokens_one_by_one(void **state) {
  (void)state;
  tri_job *job = submit(TRI_WANT_SAMPLE, 150, 3);
  uint32_t at = 0;
  for (uint64_t i = 0; i < 7; i++) { /* 6 panels and 6 rows */
    if (i > STAGES) { /* stages + 1 are on their way */
      assert_false(next());
      assert_ok(answer(i - STAGES, 0, 0, 0), err);
      assert_false(output.tells);
    }
    assert_true(next());
    const tri_run *run = &action.step.runs[0];
    assert_int_equal(action.step.id, i + 1);
    assert_int_equal(action.n_opens, i == 0);
    assert_int_equal(run->pos, at);
    assert_int_equal(run->count, i < 6 ? 24 : 6);
    assert_int_equal(run->want, i < 6 ? TRI_WANT_NONE : TRI_WANT_SAMPLE);
    assert_int_equal(action.step.tokens[0], at + 1);
    at += run->count;
    if (i == 0) assert_int_equal(opened.sampling.seed, 42);
  }
  for (uint64_t id = 4; id <= 6; id++) {
    assert_false(next()); /* the prompt is out, its last result is not back */
    assert_ok(answer(id, 0, 0, 0), err);
  }
  for (uint32_t token = 0; token < 3; token++) {
    assert_ok(answer(7 + token, 1, 1, 0), err);
    assert_true(output.tells && output.job == job);
    assert_int_equal(output.tokens.index, token);
    assert_int_equal(output.tokens.tokens[0], 700);
    if (token == 2) break;
    assert_true(next());
    assert_int_equal(action.step.runs[0].pos, 150 + token);
    assert_int_equal(action.step.tokens[0], 700);
    assert_int_equal(action.n_opens, 0);
    assert_false(next());
  }
  assert_int_equal(job->state, TRI_JOB_ENDED);
  assert_int_equal(job->reason, TRI_DONE_LENGTH);
  assert_int_equal(tri_jobs_generated(job), 3);
  assert_true(jobs.prefill_per_s > 0 && jobs.decode_per_s > 0);
}

static void windows_follow_each_other_without_a_gap(void **state) {
  (void)state;
  tri_job *first = submit(TRI_WANT_SCORE, 60, 0), *second = submit(TRI_WANT_SCORE, 30, 0);
  /* 24 + 24 + 12, then the second window at once */
  const uint32_t counts[] = {24, 24, 12, 24}, scored[] = {24, 24, 11, 24};
  for (int i = 0; i < 4; i++) {
    assert_true(next());
    assert_int_equal(action.step.runs[0].count, counts[i]);
    assert_int_equal(action.step.runs[0].next, i == 0 ? 25 : i == 1 ? 49 : i == 2 ? -1 : 25);
    assert_int_equal(action.n_opens, i == 0 || i == 3);
  }
  assert_int_equal(jobs.running, 2);
  uint32_t at = 0;
  for (uint64_t i = 0; i < 3; i++) {
    assert_ok(answer(i + 1, 0, scored[i], 0), err);
    assert_true(output.job == first && output.tells && !output.forwards);
    assert_int_equal(output.tokens.index, at);
    assert_int_equal(output.tokens.n_logprobs, scored[i]);
    at += counts[i];
  }
  assert_int_equal(first->state, TRI_JOB_ENDED);
  assert_ok(answer(4, 0, 24, 0), err);
  assert_true(next());
  assert_ok(answer(5, 0, 5, 0), err);
  assert_true(output.job == second);
  assert_int_equal(second->state, TRI_JOB_ENDED);
}

static void a_score_of_one_last_row_tells_nothing(void **state) {
  (void)state;
  tri_job *job = submit(TRI_WANT_SCORE, 25, 0);
  assert_true(next() && next());
  assert_ok(answer(1, 0, 24, 0), err);
  assert_ok(answer(2, 0, 0, 0), err);
  assert_false(output.tells);
  assert_true(output.job == job && job->state == TRI_JOB_ENDED);
}

static void logits_come_in_bounded_pieces(void **state) {
  (void)state;
  tri_job *job = submit(TRI_WANT_LOGITS, 50, 0);
  uint64_t id = 0;
  for (uint32_t done = 0; done < 50;) {
    assert_true(next());
    uint32_t rows = action.step.runs[0].count;
    assert_true(rows * VOCAB * 4 <= TRI_SCHEDULER_LOGITS_BYTES);
    assert_ok(answer(++id, 0, 0, rows * VOCAB * 4), err);
    assert_true(output.forwards);
    done += rows;
  }
  assert_int_equal(job->state, TRI_JOB_ENDED);
}

static void a_cancelled_prompt_frees_its_slot_at_once(void **state) {
  (void)state;
  tri_job *first = submit(TRI_WANT_SAMPLE, 300, 3), *second = submit(TRI_WANT_SAMPLE, 1, 1);
  assert_true(next() && next());
  tri_jobs_end(&jobs, first, TRI_DONE_CANCELLED, NULL, now_us);
  tri_jobs_remove(&jobs, &first);
  assert_true(next());
  assert_int_equal(action.n_opens, 1);
  assert_int_equal(action.step.n_rows, 1);
  assert_ok(answer(1, 0, 0, 0), err);
  assert_null(output.job); /* nobody waits for it */
  assert_ok(answer(2, 0, 0, 0), err);
  assert_null(output.job);
  assert_ok(answer(3, 1, 1, 0), err);
  assert_true(output.job == second && second->state == TRI_JOB_ENDED);
}

/* As many steps as there are stages keep them all busy: eight streams go two by two. */
static void streams_share_steps(void **state) {
  (void)state;
  enum { STREAMS = 8, ANSWER = 20 };
  serve_slots(STREAMS, 4);
  tri_job *job[STREAMS];
  for (int i = 0; i < STREAMS; i++) job[i] = submit(TRI_WANT_SAMPLE, 3, ANSWER);
  uint64_t id = 0;
  uint32_t steps = 0, rows = 0;
  while (jobs.running || jobs.queued) {
    while (next()) {}
    assert_true(scheduler.n_flights >= 1 && scheduler.n_flights <= 5);
    const tri_flight *f = &scheduler.flights[scheduler.oldest];
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_runs; i++) n += f->runs[i].want == TRI_WANT_SAMPLE;
    if (f->n_rows == n) steps++, rows += n;
    assert_ok(answer(++id, n, n, 0), err);
    assert_non_null(output.job);
    for (uint32_t i = 1; i < n; i++) {
      assert_true(more());
      assert_int_equal(output.tokens.tokens[0], result.tokens[i]);
    }
    assert_false(more());
  }
  for (int i = 0; i < STREAMS; i++) {
    assert_int_equal(job[i]->state, TRI_JOB_ENDED);
    assert_int_equal(tri_jobs_generated(job[i]), ANSWER);
  }
  assert_true(rows >= STREAMS * (ANSWER - 1) && rows / (double)steps > 1.8 && rows / (double)steps < 2.2);
}

/* The streams get a token with every step while a prompt goes on beside them. */
static void prompts_ride_along_with_streams(void **state) {
  (void)state;
  serve_slots(2, 1);
  tri_job *stream = submit(TRI_WANT_SAMPLE, 1, 100);
  assert_true(next());
  assert_ok(answer(1, 1, 1, 0), err);
  tri_job *prompt = submit(TRI_WANT_SAMPLE, 100, 2);
  uint64_t id = 1;
  for (uint32_t tokens = 1; prompt->sent < 100;) {
    assert_true(next());
    assert_int_equal(action.step.runs[0].slot, 0);
    assert_int_equal(action.step.runs[0].count, 1);
    assert_int_equal(action.step.runs[1].slot, 1);
    assert_int_equal(action.step.runs[1].row, 1);
    assert_true(action.step.runs[1].count >= 4);
    while (next()) assert_int_equal(action.step.n_runs, 1); /* the pipeline is full: the prompt alone, for the stream waits */
    while (scheduler.n_flights) {
      uint32_t n = 0;
      const tri_flight *f = &scheduler.flights[scheduler.oldest];
      for (uint32_t i = 0; i < f->n_runs; i++) n += f->runs[i].want == TRI_WANT_SAMPLE;
      assert_ok(answer(++id, n, n, 0), err);
      if (n == 2) assert_true(more() && output.job == prompt);
    }
    assert_int_equal(tri_jobs_generated(stream), ++tokens);
  }
  assert_int_equal(tri_jobs_generated(prompt), 1);
}

/* Whose rows bring a payload goes alone, but does not wait for ever. */
static void logits_get_their_turn_among_streams(void **state) {
  (void)state;
  serve_slots(2, 1);
  submit(TRI_WANT_SAMPLE, 1, 50);
  tri_job *job = submit(TRI_WANT_LOGITS, 10, 0);
  for (uint64_t id = 1; job->state != TRI_JOB_ENDED; id++) {
    assert_true(next() || scheduler.n_flights);
    assert_true(id < 8);
    const tri_flight_run *run = scheduler.flights[scheduler.oldest].runs;
    bool logits = run->want == TRI_WANT_LOGITS;
    if (logits) assert_int_equal(scheduler.flights[scheduler.oldest].n_runs, 1);
    assert_ok(answer(id, !logits, !logits, logits ? run->rows * VOCAB * sizeof(float) : 0), err);
  }
}

/* Every run's result, whatever was asked for. */
static tri_status land(void) {
  const tri_flight *f = &scheduler.flights[scheduler.oldest];
  uint32_t n = 0;
  for (uint32_t i = 0; i < f->n_runs; i++) n += f->runs[i].want == TRI_WANT_SAMPLE;
  tri_status status = answer(f->step, n, n, 0);
  while (status == TRI_OK && more()) {}
  return status;
}

static void run_all(void) {
  while (jobs.running || jobs.queued) {
    while (next()) {}
    assert_true(scheduler.n_flights > 0); /* nobody waits for what never comes */
    assert_ok(land(), err);
  }
}

/* Tables grow with the answers; check_blocks looks at every step. */
static void every_row_has_a_block_of_its_slot(void **state) {
  (void)state;
  serve_slots(3, STAGES);
  for (uint32_t i = 0; i < 4; i++) submit(TRI_WANT_SAMPLE, CONTEXT / 2 + 97 * i, 10 + 100 * i);
  run_all();
  assert_int_equal(jobs.ended_ok, 4);
}

static void a_known_beginning_is_not_computed_again(void **state) {
  (void)state;
  serve_blocks(2, STAGES, 40, TRI_REUSE_ALL);
  tri_job *first = submit(TRI_WANT_SAMPLE, 300, 20);
  run_all();
  assert_int_equal(first->reused, 0);
  tri_job *second = submit(TRI_WANT_SAMPLE, 300, 5);
  assert_true(next());
  assert_int_equal(action.step.runs[0].pos, 256); /* four blocks of 64 */
  assert_true(action.step.runs[0].begins);
  assert_int_equal(action.step.runs[0].first_block, 0);
  assert_int_equal(action.step.runs[0].n_blocks, 5);
  assert_int_equal(action.n_opens, 1);
  assert_int_equal(opened.held, 256);
  assert_int_equal(open_payload.len, 256 * sizeof(int32_t));
  int32_t last;
  memcpy(&last, open_payload.data + 255 * sizeof last, sizeof last);
  assert_int_equal(last, 256);
  run_all();
  assert_int_equal(second->reused, 256);
  assert_int_equal(tri_jobs_generated(second), 5);
  /* one that is all blocks still computes its last token; scores need all rows */
  tri_job *whole = submit(TRI_WANT_SAMPLE, 256, 5);
  run_all();
  assert_int_equal(whole->reused, 192);
  submit(TRI_WANT_SCORE, 300, 0);
  assert_true(next());
  assert_int_equal(action.step.runs[0].pos, 0);
  /* an epoch begins with nothing */
  serve(2, STAGES);
  tri_jobs_interrupt(&jobs, NULL, now_us);
  submit(TRI_WANT_SAMPLE, 300, 1);
  assert_true(next());
  assert_int_equal(tri_blocks_get_stats(blocks).cached, 0);
}

static void clients_may_be_kept_apart(void **state) {
  (void)state;
  serve_blocks(2, STAGES, 40, TRI_REUSE_CLIENT);
  submit(TRI_WANT_SAMPLE, 300, 1)->client_key[0] = 1;
  run_all();
  tri_job *other = submit(TRI_WANT_SAMPLE, 300, 1), *same = submit(TRI_WANT_SAMPLE, 300, 1);
  other->client_key[0] = 2, same->client_key[0] = 1;
  run_all();
  assert_int_equal(other->reused, 0);
  assert_int_equal(same->reused, 256);
}

/* Jobs wait for blocks, and yield them, until all have had their turn; with a cache as small as can be. */
static void a_full_cache_makes_jobs_wait(void **state) {
  (void)state;
  for (int reuse = 0; reuse < 2; reuse++) {
    serve_blocks(8, STAGES, PER_SLOT + 3, reuse ? TRI_REUSE_ALL : TRI_REUSE_NONE);
    tri_job *job[12];
    for (uint32_t i = 0; i < 12; i++) job[i] = submit(TRI_WANT_SAMPLE, 20 + 41 * i, 20 + 150 * (i % 3));
    job[5]->priority = 3;
    run_all();
    for (uint32_t i = 0; i < 12; i++) {
      assert_int_equal(job[i]->reason, TRI_DONE_LENGTH);
      uint32_t want = 20 + 150 * (i % 3), left = CONTEXT - job[i]->prompt;
      assert_int_equal(tri_jobs_generated(job[i]), want < left ? want : left);
      tri_jobs_remove(&jobs, &job[i]);
    }
    assert_true(tri_scheduler_has_room(&scheduler)); /* what the last ones had is free by that */
    assert_int_equal(tri_blocks_get_stats(blocks).in_use, 0);
  }
}

static void results_that_do_not_fit_are_the_workers_fault(void **state) {
  (void)state;
  assert_fails(answer(1, 0, 0, 0), TRI_E_PROTOCOL, err, "none is in flight");
  submit(TRI_WANT_SAMPLE, 1, 5);
  assert_true(next());
  assert_fails(answer(2, 1, 1, 0), TRI_E_PROTOCOL, err, "step 1 is due");
  assert_fails(answer(1, 0, 0, 0), TRI_E_PROTOCOL, err, "has 0 tokens");
  assert_fails(answer(1, 1, 1, 7), TRI_E_PROTOCOL, err, "7 bytes");
  result = (tri_msg_result){.epoch = 1, .id = 1, .n_tokens = 1, .n_logprobs = 1, .tokens = {VOCAB}};
  assert_fails(come_back(0), TRI_E_PROTOCOL, err, "not in the vocabulary");
  assert_ok(answer(1, 1, 1, 0), err);
}

static void likeliest_tokens_come_as_many_as_asked_for(void **state) {
  (void)state;
  submit(TRI_WANT_SAMPLE, 1, 5)->sampling.top = 3;
  assert_true(next());
  assert_int_equal(opened.sampling.top, 3);
  assert_fails(answer(1, 1, 1, 0), TRI_E_PROTOCOL, err, "0 likeliest");
  result = (tri_msg_result){.epoch = 1, .id = 1, .n_tokens = 1, .n_logprobs = 1, .n_top = 3, .top_tokens = {5, VOCAB, 6}};
  assert_fails(come_back(0), TRI_E_PROTOCOL, err, "token 1000");
  result.top_tokens[1] = 7, result.top_logprobs[2] = -4;
  assert_ok(come_back(0), err);
  assert_int_equal(output.tokens.n_top, 3);
  assert_int_equal(output.tokens.top_tokens[1], 7);
  assert_true(output.tokens.top_logprobs[2] == -4);
}

static void a_token_that_cannot_be_drawn_fails_its_job_alone(void **state) {
  (void)state;
  tri_job *job = submit(TRI_WANT_SAMPLE, 1, 5);
  submit(TRI_WANT_SCORE, 3, 0);
  assert_true(next());
  assert_int_equal(opened.prompt, 1);
  result = (tri_msg_result){.epoch = 1, .id = 1, .n_failures = 1, .failures = {{0, "the grammar is too hard"}}};
  assert_ok(come_back(0), err);
  assert_true(output.job == job && !output.tells);
  assert_int_equal(job->state, TRI_JOB_ENDED);
  assert_int_equal(job->reason, TRI_DONE_FAILED);
  assert_string_equal(job->error, "the grammar is too hard");
  assert_true(next());
  result.id = 2;
  assert_fails(come_back(0), TRI_E_PROTOCOL, err, "failed without a token");
}

static void new_epoch(uint32_t epoch, uint32_t stages) {
  tri_scheduler_stop(&scheduler);
  assert_false(next());
  tri_jobs_interrupt(&jobs, "worker w2 is gone", now_us);
  serve(epoch, stages);
}

static tri_status sampled(uint64_t id, int32_t token) {
  result = (tri_msg_result){.id = id, .n_tokens = 1, .n_logprobs = 1, .tokens = {token}};
  return come_back(0);
}

/* The next pipeline computes prompt and answer again, and goes on where the last one had told the client. */
static void an_answer_goes_on_in_the_next_epoch(void **state) {
  (void)state;
  tri_job *job = submit(TRI_WANT_SAMPLE, 40, 5);
  submit(TRI_WANT_SAMPLE, 20, 5);
  assert_true(next() && next());
  assert_ok(answer(1, 0, 0, 0), err);
  for (int i = 0; i < 3; i++) {
    assert_ok(sampled(2 + (uint64_t)i, 500 + i), err);
    assert_int_equal(output.tokens.index, i);
    assert_true(next());
  }
  new_epoch(2, 2);
  assert_int_equal(job->state, TRI_JOB_QUEUED);
  /* 40 + 3 rows: 24 + 19; nothing is drawn but from the last */
  assert_true(next());
  assert_int_equal(action.n_opens, 1);
  assert_int_equal(opened.epoch, 2);
  assert_int_equal(opened.prompt, 40);
  assert_int_equal(action.step.epoch, 2);
  assert_int_equal(action.step.n_rows, 24);
  assert_int_equal(action.step.runs[0].want, TRI_WANT_NONE);
  assert_true(next());
  assert_int_equal(action.n_opens, 0);
  assert_int_equal(action.step.runs[0].pos, 24);
  assert_int_equal(action.step.n_rows, 19);
  assert_int_equal(action.step.runs[0].want, TRI_WANT_SAMPLE);
  for (int i = 0; i < 3; i++) assert_int_equal(action.step.tokens[16 + i], 500 + i);
  assert_false(next()); /* the other job still has no slot */
  uint64_t id = action.step.id;
  assert_ok(answer(id - 1, 0, 0, 0), err);
  assert_ok(sampled(id, 503), err);
  assert_true(output.job == job && output.tells);
  assert_int_equal(output.tokens.index, 3);
  assert_true(next());
  assert_int_equal(action.step.runs[0].pos, 43);
  assert_ok(sampled(id + 1, 504), err);
  assert_int_equal(job->reason, TRI_DONE_LENGTH);
  assert_true(next());
  assert_int_equal(action.n_opens, 1);
  assert_int_equal(action.step.n_rows, 20);
}

/* Rows that the client has are computed for the cache alone; those after them are told as ever. */
static void scores_and_logits_are_told_once(void **state) {
  (void)state;
  for (int logits = 0; logits < 2; logits++) {
    uint32_t scored = logits ? 0 : 24, bytes = logits ? 24 * VOCAB * sizeof(float) : 0, id = logits ? 6 : 1;
    tri_job *job = submit(logits ? TRI_WANT_LOGITS : TRI_WANT_SCORE, 60, 0);
    new_epoch(1, STAGES);
    assert_true(next() && next() && next());
    assert_ok(answer(id, 0, scored, bytes), err);
    assert_int_equal(output.tokens.index, 0);
    new_epoch(2, 1);
    assert_true(next());
    assert_int_equal(action.n_opens, 1);
    assert_int_equal(action.step.n_rows, 24);
    assert_int_equal(action.step.runs[0].want, TRI_WANT_NONE);
    assert_true(next());
    assert_int_equal(action.step.runs[0].pos, 24);
    assert_int_equal(action.step.n_rows, 36);
    assert_ok(answer(id + 3, 0, 0, 0), err);
    assert_false(output.tells);
    assert_ok(answer(id + 4, 0, logits ? 0 : 35, logits ? 36 * VOCAB * sizeof(float) : 0), err);
    assert_true(output.tells && output.job == job);
    assert_int_equal(output.forwards, logits);
    assert_int_equal(output.tokens.index, 24);
    assert_int_equal(job->state, TRI_JOB_ENDED);
    tri_jobs_remove(&jobs, &job);
  }
}

static void a_pause_can_be_called_off(void **state) {
  (void)state;
  submit(TRI_WANT_SAMPLE, 10, 5);
  tri_scheduler_pause(&scheduler);
  assert_false(next());
  tri_scheduler_resume(&scheduler);
  assert_true(next());
}

static void a_pause_lets_what_is_in_flight_come_back(void **state) {
  (void)state;
  tri_job *job = submit(TRI_WANT_SAMPLE, 10, 5);
  assert_true(next());
  tri_scheduler_pause(&scheduler);
  assert_ok(sampled(1, 7), err);
  assert_true(output.tells);
  assert_int_equal(scheduler.n_flights, 0);
  assert_false(next());
  assert_false(tri_scheduler_has_room(&scheduler));
  tri_scheduler_stop(&scheduler);
  tri_jobs_interrupt(&jobs, NULL, now_us);
  assert_int_equal(job->interrupted, 0);
  serve(2, STAGES);
  assert_true(next());
  assert_int_equal(action.step.n_rows, 11);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(prompts_flow_in_chunks_then_tokens_one_by_one, start, stop),
      cmocka_unit_test_setup_teardown(windows_follow_each_other_without_a_gap, start, stop),
      cmocka_unit_test_setup_teardown(a_score_of_one_last_row_tells_nothing, start, stop),
      cmocka_unit_test_setup_teardown(logits_come_in_bounded_pieces, start, stop),
      cmocka_unit_test_setup_teardown(a_cancelled_prompt_frees_its_slot_at_once, start, stop),
      cmocka_unit_test_setup_teardown(streams_share_steps, start, stop),
      cmocka_unit_test_setup_teardown(prompts_ride_along_with_streams, start, stop),
      cmocka_unit_test_setup_teardown(logits_get_their_turn_among_streams, start, stop),
      cmocka_unit_test_setup_teardown(every_row_has_a_block_of_its_slot, start, stop),
      cmocka_unit_test_setup_teardown(a_known_beginning_is_not_computed_again, start, stop),
      cmocka_unit_test_setup_teardown(clients_may_be_kept_apart, start, stop),
      cmocka_unit_test_setup_teardown(a_full_cache_makes_jobs_wait, start, stop),
      cmocka_unit_test_setup_teardown(results_that_do_not_fit_are_the_workers_fault, start, stop),
      cmocka_unit_test_setup_teardown(likeliest_tokens_come_as_many_as_asked_for, start, stop),
      cmocka_unit_test_setup_teardown(a_token_that_cannot_be_drawn_fails_its_job_alone, start, stop),
      cmocka_unit_test_setup_teardown(an_answer_goes_on_in_the_next_epoch, start, stop),
      cmocka_unit_test_setup_teardown(scores_and_logits_are_told_once, start, stop),
      cmocka_unit_test_setup_teardown(a_pause_can_be_called_off, start, stop),
      cmocka_unit_test_setup_teardown(a_pause_lets_what_is_in_flight_come_back, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
