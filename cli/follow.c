/* SPDX-License-Identifier: MIT */
#include "cli/follow.h"

#include <stdio.h>
#include "base/log.h"
#include "cli/cli.h"

enum { PATIENCE_MS = 2000 };

void tri_follow_show_prompt(const tri_follow *f) {
  fwrite(f->payload->data + f->request->grammar_bytes, 1, f->payload->len - f->request->grammar_bytes, stdout);
  fflush(stdout);
}

static void take_text(tri_follow *f, const tri_client_event *e) {
  tri_buf_append(&f->text, e->payload, e->payload_len);
  if (f->quiet || !e->payload_len) return;
  fwrite(e->payload, 1, e->payload_len, stdout);
  fflush(stdout);
}

static tri_status take_tokens(tri_follow *f, const tri_msg_tokens *m, tri_error *err) {
  size_t top = m->n_tokens ? m->n_top / m->n_tokens : 0;
  for (uint32_t i = 0; i < m->n_tokens; i++) {
    tri_status status = tri_ids_push(&f->ids, m->tokens[i]);
    if (status == TRI_OK && top && i < m->n_logprobs)
      status = tri_scores_add(&f->scores, (tri_sample){m->tokens[i], m->logprobs[i]}, m->top_tokens + i * top, m->top_logprobs + i * top,
                              top);
    if (status != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  }
  return TRI_OK;
}

tri_status tri_follow_take(tri_follow *f, const tri_client_event *e, bool *over, tri_error *err) {
  const tri_msg *m = e->msg;
  switch (m->kind) {
  case TRI_MSG_REFUSE: return tri_status_fail(err, (tri_status)m->refuse.status, "the coordinator refused the job: %s", m->refuse.text);
  case TRI_MSG_ACCEPTED:
    if (f->show_prompt && !f->quiet && !f->job) tri_follow_show_prompt(f);
    f->job = m->accepted.job;
    f->ahead = m->accepted.ahead;
    *over = f->request->detach;
    return TRI_OK;
  case TRI_MSG_TOKENS:
    f->begun = true;
    take_text(f, e);
    return take_tokens(f, &m->tokens, err);
  case TRI_MSG_DONE:
    *over = true;
    f->done = m->done;
    f->kept = m->done.reused_tokens;
    take_text(f, e);
    return m->done.reason == TRI_DONE_FAILED ? tri_status_fail(err, TRI_E_PROTOCOL, "the job failed: %s", m->done.error) : TRI_OK;
  default: return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator sent %s", tri_msg_kind_name(m->kind));
  }
}

/* A prompt that nothing comes after would look like a hang. */
static void tell_wait(const tri_follow *f) {
  if (f->ahead) fprintf(stderr, "[job %llu waits; %u before it]\n", (unsigned long long)f->job, f->ahead);
  else fprintf(stderr, "[job %llu waits; `trireme status` shows whether the cluster serves]\n", (unsigned long long)f->job);
}

static void cancel(tri_client *c, uint64_t job) {
  tri_error err;
  if (tri_client_cancel(c, job, &err) != TRI_OK) TRI_WARN("job %llu could not be cancelled: %s", (unsigned long long)job, err.text);
}

/* The coordinator is gone: once it is back, it goes on telling from where we are. */
static tri_status come_back(tri_client *c, tri_follow *f, tri_error *err) {
  enum { BACK_MS = 60000 };
  fprintf(stderr, "\n[the connection to the coordinator was lost; waiting for it]\n");
  tri_status status = tri_client_reconnect(c, BACK_MS, err);
  return status == TRI_OK ? tri_client_follow(c, f->job, (uint32_t)f->ids.len, err) : status;
}

static tri_status follow_on(tri_client *c, tri_follow *f, tri_error *err) {
  tri_client_event e;
  bool over = false, patient = false; /* patient: it has been told that there is a wait */
  tri_status status = TRI_OK;
  while (status == TRI_OK && !over) {
    bool waiting = f->job && !f->begun && !patient;
    status = tri_client_next(c, &e, waiting ? PATIENCE_MS : -1, err);
    if (status == TRI_OK) status = tri_follow_take(f, &e, &over, err);
    else if (status == TRI_E_TIMEOUT) status = TRI_OK, patient = true, tell_wait(f);
    else if (status == TRI_E_UNREACHABLE && f->job) status = come_back(c, f, err);
  }
  if (!f->quiet && !f->request->detach && f->job) putchar('\n'), fflush(stdout);
  return status;
}

tri_status tri_follow_job(tri_client *c, tri_follow *f, tri_error *err) {
  tri_status status = tri_client_submit(c, f->request, f->payload->data, f->payload->len, err);
  if (status == TRI_OK) status = follow_on(c, f, err);
  if (status == TRI_E_CANCELLED && f->job) cancel(c, f->job);
  return status;
}

tri_status tri_follow_again(tri_client *c, tri_follow *f, uint64_t job, tri_error *err) {
  tri_status status = tri_client_follow(c, job, 0, err);
  return status == TRI_OK ? follow_on(c, f, err) : status;
}

void tri_follow_summary(const tri_follow *f, FILE *out) {
  tri_scores_print(&f->scores, out);
  if (f->kept) fprintf(out, "%u tokens of the prompt were known; ", f->kept);
  tri_cli_print_speed(out, f->done.prompt_tokens - f->kept, f->done.prefill_us, f->done.tokens, f->done.decode_us);
}

json_t *tri_follow_json(const tri_follow *f) {
  const tri_msg_done *d = &f->done;
  if (f->request->detach) return json_pack("{s:I}", "job", (json_int_t)f->job);
  json_t *ids = json_array();
  for (size_t i = 0; i < f->ids.len; i++) json_array_append_new(ids, json_integer(f->ids.data[i]));
  json_t *doc = json_pack("{s:s%, s:o, s:s, s:i, s:i, s:f, s:f}", "text", f->text.data ? (char *)f->text.data : "", f->text.len, "ids", ids,
                          "reason", tri_done_reason_name(d->reason), "prompt_tokens", (int)d->prompt_tokens, "tokens", (int)d->tokens,
                          "prefill_tokens_per_s", tri_cli_prefill_rate(d->prompt_tokens, d->prefill_us), "decode_tokens_per_s",
                          tri_cli_decode_rate(d->tokens, d->decode_us));
  if (f->job) {
    json_object_set_new(doc, "job", json_integer((json_int_t)f->job));
    json_object_set_new(doc, "queued_ms", json_real((double)d->queued_us / 1e3));
  }
  if (f->scores.top) json_object_set_new(doc, "logprobs", tri_scores_json(&f->scores));
  return doc;
}

void tri_follow_free(tri_follow *f) {
  tri_buf_free(&f->text);
  tri_ids_free(&f->ids);
  tri_scores_free(&f->scores);
}
