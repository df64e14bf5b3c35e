/* SPDX-License-Identifier: MIT */
#include "coordinator/scheduler.h"

#include <string.h>
#include "engine/sampler.h"

tri_status tri_scheduler_parse_reuse(const char *name, tri_reuse *out, tri_error *err) {
  static const char *const names[] = {[TRI_REUSE_ALL] = "all", [TRI_REUSE_CLIENT] = "client", [TRI_REUSE_NONE] = "none"};
  for (int i = 0; i < 3; i++)
    if (strcmp(name, names[i]) == 0) return *out = (tri_reuse)i, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--reuse %s: all, client or none is expected", name);
}

void tri_scheduler_init(tri_scheduler *s, tri_jobs *jobs, tri_blocks *blocks, uint32_t slots, uint32_t vocab, tri_reuse reuse) {
  *s = (tri_scheduler){.jobs = jobs, .blocks = blocks, .slots = slots, .vocab = vocab, .reuse = reuse, .next_step = 1};
}

void tri_scheduler_stop(tri_scheduler *s) {
  s->serving = s->paused = s->logits_due = false;
  s->oldest = s->n_flights = s->n_opens = s->turn = 0;
  s->refused_job = 0;
  s->landed.n_runs = s->told_runs = 0;
  for (uint32_t i = 0; i < s->slots; i++) {
    tri_blocks_forget(&s->slot[i].chain);
    s->slot[i] = (tri_scheduler_slot){0};
  }
  tri_blocks_clear(s->blocks);
}

void tri_scheduler_start(tri_scheduler *s, uint32_t epoch, const tri_pace *pace) {
  tri_scheduler_stop(s);
  s->serving = true;
  s->epoch = epoch;
  s->pace = *pace;
}

void tri_scheduler_pause(tri_scheduler *s) { s->paused = true; }
void tri_scheduler_resume(tri_scheduler *s) { s->paused = false; }

/* --- slots --- */

static uint32_t unsent(const tri_job *job) { return (uint32_t)job->tokens.len - job->sent; }

/* The job that still has rows to send from this slot; NULL: the slot is free. */
static tri_job *holder(const tri_scheduler *s, uint32_t slot) {
  tri_job *job = s->slot[slot].job ? tri_jobs_find(s->jobs, s->slot[slot].job) : NULL;
  bool over = !job || job->state != TRI_JOB_RUNNING || (job->want != TRI_WANT_SAMPLE && !unsent(job));
  return over ? NULL : job;
}

static void free_slot(tri_scheduler *s, tri_scheduler_slot *slot) {
  tri_blocks_release(s->blocks, &slot->chain);
  *slot = (tri_scheduler_slot){0};
}

/* A free slot; NULL: none. Those whose job has ended become free. */
static tri_scheduler_slot *find_slot(tri_scheduler *s) {
  tri_scheduler_slot *found = NULL;
  for (uint32_t i = s->slots; i-- > 0;) {
    if (holder(s, i)) continue;
    if (s->slot[i].job) free_slot(s, &s->slot[i]);
    found = &s->slot[i];
  }
  return found;
}

bool tri_scheduler_has_room(tri_scheduler *s) { return s->serving && !s->paused && find_slot(s); }

/* What the names of a job's blocks begin with. */
static void begin_name(const tri_scheduler *s, const tri_job *job, tri_blocks_chain *chain) {
  if (s->reuse == TRI_REUSE_CLIENT) memcpy(chain->name, job->client_key, TRI_BLOCKS_NAME);
}

/* Jobs that run and will need more blocks than they have, if they go on to their end. */
static uint32_t count_needy(const tri_scheduler *s) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < s->slots; i++) {
    const tri_job *job = holder(s, i);
    n += job && job->want == TRI_WANT_SAMPLE && s->slot[i].chain.n * TRI_KV_BLOCK < job->prompt + job->predict;
  }
  return n;
}

/* Blocks for the whole prompt, those included that hold its beginning already. One more is left for each job that may need it
 * soon, so that who begins does not make another yield at once. */
static bool get_blocks(tri_scheduler *s, tri_job *job, tri_blocks_chain *chain, uint32_t *held) {
  tri_blocks_stats stats = tri_blocks_get_stats(s->blocks);
  uint32_t needy = count_needy(s);
  int64_t room = (int64_t)stats.total - stats.in_use - needy;
  if (job->id == s->refused_job && room <= s->refused_room) return false; /* its prompt's names cost more than this look */
  begin_name(s, job, chain);
  *held = 0;
  bool finds = s->reuse != TRI_REUSE_NONE && job->want == TRI_WANT_SAMPLE; /* all rows of the others are wanted */
  bool ok = !finds || tri_blocks_find(s->blocks, chain, job->tokens.data, (uint32_t)job->tokens.len, held) == TRI_OK;
  if (ok) ok = tri_blocks_extend(s->blocks, chain, (uint32_t)job->tokens.len) == TRI_OK;
  stats = tri_blocks_get_stats(s->blocks);
  if (ok && stats.total - stats.in_use < needy) ok = false;
  s->refused_job = ok || !s->jobs->running ? 0 : job->id, s->refused_room = room; /* one that runs makes room when it ends */
  if (!ok) tri_blocks_release(s->blocks, chain);
  return ok;
}

tri_job *tri_scheduler_admit(tri_scheduler *s, int64_t now_us) {
  tri_scheduler_slot *slot = s->serving && !s->paused ? find_slot(s) : NULL;
  tri_job *job = slot ? tri_jobs_next(s->jobs) : NULL;
  uint32_t held;
  if (!job || !get_blocks(s, job, &slot->chain, &held)) return NULL;
  tri_jobs_take(s->jobs, now_us);
  slot->job = job->id;
  job->sent = job->done = held;
  if (!job->reused) job->reused = held;
  return job;
}

/* --- what to send --- */

/* Everything is sent but the token that was drawn last, or is still to be. */
static bool generates(const tri_job *job) { return job->want == TRI_WANT_SAMPLE && job->sent && unsent(job) <= 1; }
static bool is_ready(const tri_job *job) { return generates(job) && unsent(job) == 1 && job->done == job->sent; }

/* By priority and age. */
static bool goes_first(const tri_job *a, const tri_job *b) { return a->priority != b->priority ? a->priority > b->priority : a->id < b->id; }

/* What there is to choose from. */
typedef struct offer {
  tri_job *job[TRI_SCHEDULER_SLOTS]; /* by slot */
  uint32_t streams, ready, waiting;  /* jobs that generate; of them those with a row to send; rows of prompts */
} offer;

/* Jobs that are to yield do so once nothing of theirs is on its way. */
static void look(tri_scheduler *s, offer *out) {
  *out = (offer){0};
  for (uint32_t slot = 0; slot < s->slots; slot++) {
    tri_job *job = out->job[slot] = holder(s, slot);
    if (job && job->yields) {
      if (job->done == job->sent) tri_jobs_yield(s->jobs, job), free_slot(s, &s->slot[slot]);
      job = out->job[slot] = NULL;
    }
    if (!job) continue;
    if (generates(job)) out->streams++, out->ready += is_ready(job);
    else out->waiting += unsent(job);
  }
}

/* A step that is being put together. */
typedef struct draft {
  tri_scheduler *s;
  tri_scheduler_action *out;
  tri_flight *flight;
} draft;

/* The slot has blocks for all its rows, of which the stages are told with the first run that needs them. */
static void map_blocks(tri_scheduler_slot *slot, tri_run *run, tri_msg_step *out) {
  run->first_block = slot->mapped, run->block = out->n_blocks;
  run->n_blocks = slot->chain.n - slot->mapped;
  if (run->n_blocks) memcpy(out->blocks + out->n_blocks, slot->chain.blocks + slot->mapped, run->n_blocks * sizeof *out->blocks);
  out->n_blocks += run->n_blocks;
  slot->mapped = slot->chain.n;
}

static void begin(const draft *d, uint32_t slot, const tri_job *job) {
  tri_scheduler_action *out = d->out;
  out->open_slot[out->n_opens] = slot, out->open_held[out->n_opens] = job->sent;
  out->open_job[out->n_opens++] = job;
  d->flight->opens++, d->s->n_opens++;
  d->s->slot[slot].begun = true;
}

/* False: there is no room for more. */
static bool add_run(const draft *d, uint32_t at, tri_job *job, uint32_t rows) {
  tri_msg_step *step = &d->out->step;
  tri_scheduler_slot *slot = &d->s->slot[at];
  if (step->n_blocks + slot->chain.n - slot->mapped > TRI_MAX_BLOCKS) return false;
  tri_flight_run *f = &d->flight->runs[d->flight->n_runs++];
  *f = (tri_flight_run){.job = job->id, .pos = job->sent, .rows = rows, .top = (uint32_t)tri_sampler_top_count(&job->sampling, d->s->vocab)};
  bool final = rows == unsent(job), wanted = job->want == TRI_WANT_SAMPLE ? final : f->pos >= job->told;
  f->want = wanted ? job->want : TRI_WANT_NONE;
  f->scored = f->want == TRI_WANT_SCORE ? rows - final : 0;
  int32_t next = f->want == TRI_WANT_SCORE && !final ? job->tokens.data[f->pos + rows] : -1;
  tri_run *run = &step->runs[step->n_runs++];
  *run = (tri_run){.slot = at, .pos = f->pos, .row = step->n_rows, .count = rows, .want = f->want, .next = next, .begins = !slot->begun};
  map_blocks(slot, run, step);
  memcpy(step->tokens + step->n_rows, job->tokens.data + f->pos, rows * sizeof *step->tokens);
  step->n_rows += rows, d->flight->n_rows += rows;
  if (!slot->begun) begin(d, at, job);
  job->sent += rows;
  tri_blocks_sent(d->s->blocks, &slot->chain, job->tokens.data, job->sent);
  return true;
}

/* Let the last of the running jobs go back to the queue, so that its blocks become free; it may be the one that needs them. */
static void make_yield(tri_scheduler *s, const offer *o) {
  tri_job *last = NULL;
  for (uint32_t i = 0; i < s->slots; i++) {
    if (o->job[i] && (!last || goes_first(last, o->job[i]))) last = o->job[i];
    const tri_job *job = holder(s, i);
    if (job && job->yields) return; /* one does already */
  }
  if (last) last->yields = true;
}

/* Rows of streams, those first whose turn it is. */
static void add_streams(const draft *d, const offer *o, uint32_t most) {
  tri_scheduler *s = d->s;
  uint32_t first = s->turn;
  for (uint32_t i = 0; i < s->slots && most; i++) {
    uint32_t slot = (first + i) % s->slots;
    tri_job *job = o->job[slot];
    if (!job || !is_ready(job) || job->yields) continue;
    if (tri_blocks_extend(s->blocks, &s->slot[slot].chain, (uint32_t)job->tokens.len) != TRI_OK) make_yield(s, o);
    else if (add_run(d, slot, job, 1)) s->turn = (slot + 1) % s->slots, most--;
  }
}

/* The slot of the first job after that one (NULL: of all) with rows of its prompt to send, by priority and age; false: none. */
static bool next_prompt(const tri_scheduler *s, const offer *o, const tri_job *after, uint32_t *slot) {
  bool found = false;
  for (uint32_t i = 0; i < s->slots; i++) {
    const tri_job *job = o->job[i];
    if (!job || generates(job) || !unsent(job) || (after && !goes_first(after, job))) continue;
    if (!s->slot[i].begun && s->n_opens == TRI_MAX_OPENS) continue;
    if (!found || goes_first(job, o->job[*slot])) *slot = i, found = true;
  }
  return found;
}

/* Rows of this prompt that may go in one run: not beyond what an earlier pipeline told already, and logits in pieces. */
static uint32_t run_rows(const tri_scheduler *s, const tri_job *job, uint32_t most) {
  uint32_t rows = job->sent < job->told ? job->told - job->sent : unsent(job);
  if (job->want == TRI_WANT_LOGITS) {
    uint32_t limit = TRI_SCHEDULER_LOGITS_BYTES / (s->vocab * (uint32_t)sizeof(float));
    if (rows > limit) rows = limit ? limit : 1;
  }
  return rows < most ? rows : most;
}

/* The rows of a LOGITS job go alone: their payload is one job's. */
static bool add_logits(const draft *d, const offer *o, uint32_t most) {
  const tri_job *after = NULL;
  for (uint32_t slot; next_prompt(d->s, o, after, &slot); after = o->job[slot])
    if (o->job[slot]->want == TRI_WANT_LOGITS) return add_run(d, slot, o->job[slot], run_rows(d->s, o->job[slot], most));
  return false;
}

/* Chunks of prompts, by priority and age; true: the turn of a LOGITS job has come. */
static bool add_prompts(const draft *d, const offer *o, uint32_t most) {
  const tri_job *after = NULL;
  for (uint32_t slot; most && d->flight->n_runs < TRI_MAX_RUNS && next_prompt(d->s, o, after, &slot); after = o->job[slot]) {
    if (o->job[slot]->want == TRI_WANT_LOGITS) return true;
    uint32_t rows = run_rows(d->s, o->job[slot], most);
    if (!add_run(d, slot, o->job[slot], rows)) return false;
    most -= rows;
  }
  return false;
}

static void begin_step(tri_scheduler *s, tri_flight *f, tri_scheduler_action *out) {
  f->step = s->next_step;
  f->n_runs = f->n_rows = f->opens = 0;
  out->step.epoch = s->epoch, out->step.id = f->step;
  out->step.n_runs = out->step.n_rows = out->step.n_blocks = out->n_opens = 0;
}

/* Put a step together; false: nothing can go now. */
static bool compose(tri_scheduler *s, const offer *o, tri_pace_choice c, tri_scheduler_action *out) {
  draft d = {s, out, &s->flights[(s->oldest + s->n_flights) % TRI_MAX_FLIGHTS]};
  begin_step(s, d.flight, out);
  bool due = s->logits_due;
  s->logits_due = false;
  if (!due || !add_logits(&d, o, c.chunk)) {
    uint32_t steps = c.depth - s->n_flights, share = (o->ready + steps - 1) / steps; /* so that those after it have rows too */
    add_streams(&d, o, share < c.share ? share : c.share);
    s->logits_due = add_prompts(&d, o, c.chunk);
    if (!d.flight->n_runs && s->logits_due) add_logits(&d, o, c.chunk), s->logits_due = false;
  }
  return d.flight->n_runs;
}

static bool some_yields(const offer *o) {
  for (uint32_t i = 0; i < TRI_SCHEDULER_SLOTS; i++)
    if (o->job[i] && o->job[i]->yields && o->job[i]->done == o->job[i]->sent) return true;
  return false;
}

bool tri_scheduler_next(tri_scheduler *s, tri_scheduler_action *out) {
  offer o;
  do {
    if (!s->serving || s->paused || s->n_flights == TRI_MAX_FLIGHTS) return false;
    look(s, &o);
    if (!o.ready && !o.waiting) return false;
    tri_pace_choice c = tri_pace_choose(&s->pace, o.streams, o.waiting);
    if (s->n_flights >= c.depth) return false;
    if (compose(s, &o, c, out)) {
      s->next_step++, s->n_flights++;
      return true;
    }
  } while (some_yields(&o)); /* then there are blocks to go on with */
  return false;
}

void tri_scheduler_open(const tri_scheduler *s, const tri_scheduler_action *a, uint32_t i, tri_msg_open *out, tri_buf *payload) {
  const tri_job *job = a->open_job[i];
  const tri_sampler_params defaults = TRI_SAMPLER_DEFAULTS;
  *out = (tri_msg_open){.epoch = s->epoch, .slot = a->open_slot[i], .prompt = job->prompt, .held = a->open_held[i],
                        .sampling = job->want == TRI_WANT_SAMPLE ? job->sampling : defaults};
  tri_buf_append(payload, job->grammar.data, job->grammar.len);
  tri_buf_append(payload, job->tokens.data, out->held * sizeof *job->tokens.data);
}

/* --- what came back --- */

static tri_status check_tokens(const tri_scheduler *s, const tri_msg_result *m, const int32_t *tokens, uint32_t n, tri_error *err) {
  for (uint32_t i = 0; i < n; i++)
    if ((uint32_t)tokens[i] >= s->vocab)
      return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu: token %d is not in the vocabulary", (unsigned long long)m->id,
                             tokens[i]);
  return TRI_OK;
}

/* What a result is to have. */
typedef struct due {
  uint32_t tokens, logprobs, top, failures;
  size_t payload;
} due;

static due due_of(const tri_scheduler *s, const tri_flight *f, const tri_msg_result *m) {
  due out = {0};
  for (uint32_t i = 0; i < f->n_runs; i++) {
    const tri_flight_run *run = &f->runs[i];
    bool fails = run->want == TRI_WANT_SAMPLE && out.failures < m->n_failures && m->failures[out.failures].run == i;
    if (fails) out.failures++;
    else if (run->want == TRI_WANT_SAMPLE) out.tokens++, out.logprobs++, out.top += run->top;
    else if (run->want == TRI_WANT_LOGITS) out.payload += (size_t)run->rows * s->vocab * sizeof(float);
    out.logprobs += run->scored;
  }
  return out;
}

static tri_status check_result(const tri_scheduler *s, const tri_msg_result *m, size_t payload_len, tri_error *err) {
  unsigned long long id = m->id;
  if (!s->n_flights) return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu, but none is in flight", id);
  const tri_flight *f = &s->flights[s->oldest];
  if (m->id != f->step)
    return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu, but step %llu is due", id, (unsigned long long)f->step);
  due want = due_of(s, f, m);
  if (m->n_failures != want.failures)
    return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu: run %u failed without a token to draw", id,
                           m->failures[want.failures].run);
  if (m->n_tokens != want.tokens || m->n_logprobs != want.logprobs || m->n_top != want.top || payload_len != want.payload)
    return tri_status_fail(err, TRI_E_PROTOCOL,
                           "result of step %llu has %u tokens, %u logprobs, %u likeliest and %zu bytes, not %u, %u, %u and %zu", id,
                           m->n_tokens, m->n_logprobs, m->n_top, payload_len, want.tokens, want.logprobs, want.top, want.payload);
  tri_status status = check_tokens(s, m, m->tokens, m->n_tokens, err);
  return status == TRI_OK ? check_tokens(s, m, m->top_tokens, m->n_top, err) : status;
}

tri_status tri_scheduler_result(tri_scheduler *s, const tri_msg_result *m, size_t payload_len, tri_error *err) {
  tri_status status = check_result(s, m, payload_len, err);
  if (status != TRI_OK) return status;
  s->landed = s->flights[s->oldest];
  s->oldest = (s->oldest + 1) % TRI_MAX_FLIGHTS;
  s->n_flights--;
  s->n_opens -= s->landed.opens;
  s->told_runs = s->told_tokens = s->told_logprobs = s->told_top = s->told_failures = 0;
  tri_pace_landed(&s->pace, s->landed.n_rows, m->n_logprobs + m->n_failures);
  return TRI_OK;
}

static void tell_rows(const tri_flight_run *run, tri_job *job, const float *logprobs, tri_scheduler_output *out) {
  if (run->want == TRI_WANT_NONE) return; /* told by an earlier pipeline */
  job->told = run->pos + run->rows;
  job->interrupted = 0;
  out->tells = run->want == TRI_WANT_LOGITS || run->scored > 0;
  out->forwards = run->want == TRI_WANT_LOGITS;
  out->tokens.index = run->pos;
  out->tokens.n_logprobs = run->scored;
  memcpy(out->tokens.logprobs, logprobs, run->scored * sizeof *logprobs);
}

/* The run's token, which is the next one of the result that nobody has had yet. */
static void tell_token(tri_scheduler *s, const tri_flight_run *run, tri_job *job, const tri_msg_result *m, int64_t now_us,
                       tri_scheduler_output *out, tri_buf *text) {
  out->tells = true;
  out->tokens.index = tri_jobs_generated(job);
  out->tokens.n_tokens = out->tokens.n_logprobs = 1;
  out->tokens.tokens[0] = m->tokens[s->told_tokens];
  out->tokens.logprobs[0] = m->logprobs[s->told_logprobs];
  out->tokens.n_top = run->top;
  memcpy(out->tokens.top_tokens, m->top_tokens + s->told_top, run->top * sizeof *m->top_tokens);
  memcpy(out->tokens.top_logprobs, m->top_logprobs + s->told_top, run->top * sizeof *m->top_logprobs);
  tri_jobs_token(s->jobs, job, m->tokens[s->told_tokens], now_us, text);
}

static void tell_run(tri_scheduler *s, const tri_flight_run *run, tri_job *job, const tri_msg_result *m, const tri_failure *failure,
                     int64_t now_us, tri_scheduler_output *out, tri_buf *text) {
  *out = (tri_scheduler_output){.job = job};
  out->tokens.job = job->id;
  job->done += run->rows;
  if (!job->prefilled_us && job->done >= job->prompt) job->prefilled_us = now_us;
  if (failure) tri_jobs_end(s->jobs, job, TRI_DONE_FAILED, failure->text, now_us);
  else if (run->want == TRI_WANT_SAMPLE) tell_token(s, run, job, m, now_us, out, text);
  else if (job->want != TRI_WANT_SAMPLE) {
    tell_rows(run, job, m->logprobs + s->told_logprobs, out);
    if (job->done == job->prompt) tri_jobs_end(s->jobs, job, TRI_DONE_LENGTH, NULL, now_us);
  }
}

bool tri_scheduler_output_next(tri_scheduler *s, const tri_msg_result *m, int64_t now_us, tri_scheduler_output *out, tri_buf *text) {
  while (s->told_runs < s->landed.n_runs) {
    const tri_flight_run *run = &s->landed.runs[s->told_runs];
    const tri_failure *failure = s->told_failures < m->n_failures && m->failures[s->told_failures].run == s->told_runs
                                     ? &m->failures[s->told_failures] : NULL;
    tri_job *job = tri_jobs_find(s->jobs, run->job);
    bool waits = job && job->state == TRI_JOB_RUNNING, samples = run->want == TRI_WANT_SAMPLE && !failure;
    if (waits) tell_run(s, run, job, m, failure, now_us, out, text);
    s->told_runs++, s->told_failures += failure != NULL;
    s->told_tokens += samples, s->told_logprobs += samples + run->scored, s->told_top += samples ? run->top : 0;
    if (waits) return true;
  }
  return false;
}
