/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "cli/chat.h"
#include "cli/generate.h"
#include "cli/nodes.h"
#include "engine/kv.h"

struct tri_chat_model {
  tri_generator *generator; /* NULL: a cluster answers */
  tri_tokenizer *tokenizer; /* of that, our own copy */
  const tri_chat_options *options;
  int32_t context;
};

/* The cluster says how long its context is; its tokenizer is taken to be that of the file at hand, as far as sizes tell. */
static tri_status ask_cluster(tri_chat_model *m, tri_error *err) {
  tri_client *client;
  json_t *doc = NULL;
  int64_t timeout_ms = m->options->timeout_s * 1000;
  tri_status status = tri_client_dial(&client, m->options->coordinator, m->options->key_dir, -1, timeout_ms, err);
  if (status != TRI_OK) return status;
  status = tri_nodes_fetch(client, &doc, timeout_ms, err);
  tri_client_close(&client);
  if (status != TRI_OK) return status;
  tri_nodes_model model;
  status = tri_nodes_read_model(doc, &model, err);
  json_decref(doc);
  if (status == TRI_OK) status = tri_nodes_check_tokenizer(&model, m->tokenizer, m->options->model_path, err);
  if (status != TRI_OK) return status;
  m->context = model.context;
  if (m->options->context && m->options->context < m->context) m->context = (int32_t)m->options->context;
  return TRI_OK;
}

static tri_status open_single(tri_chat_model *m, tri_error *err) {
  tri_single_options o = {.threads = (int)m->options->threads, .context = (int32_t)m->options->context};
  tri_status status = tri_kv_parse(m->options->kv_name, &o.kv_type, err);
  if (status == TRI_OK) status = tri_generator_open(&m->generator, m->options->model_path, &o, err);
  if (status == TRI_OK) m->context = tri_generator_context(m->generator);
  return status;
}

static tri_status open_cluster(tri_chat_model *m, tri_error *err) {
  if (!m->options->key_dir) return tri_status_fail(err, TRI_E_INVALID, "a cluster wants a key: --key DIR");
  tri_status status = tri_tokenizer_load(&m->tokenizer, m->options->model_path, err);
  return status == TRI_OK ? ask_cluster(m, err) : status;
}

tri_status tri_chat_model_open(tri_chat_model **out, const tri_chat_options *o, tri_error *err) {
  if (!o->model_path)
    return tri_status_fail(err, TRI_E_INVALID, "a model is needed: -m FILE%s", o->coordinator ? ", or the folder with its tokenizer" : "");
  if (o->key_dir && !o->coordinator) return tri_status_fail(err, TRI_E_INVALID, "--key goes with --coordinator tcp://HOST:PORT");
  tri_chat_model *m = calloc(1, sizeof *m);
  if (!m) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  m->options = o;
  tri_status status = o->coordinator ? open_cluster(m, err) : open_single(m, err);
  if (status != TRI_OK) return tri_chat_model_close(&m), status;
  *out = m;
  return TRI_OK;
}

void tri_chat_model_close(tri_chat_model **m) {
  if (!*m) return;
  tri_generator_close(&(*m)->generator);
  tri_tokenizer_close(&(*m)->tokenizer);
  free(*m);
  *m = NULL;
}

const tri_tokenizer *tri_chat_model_tokenizer(const tri_chat_model *m) {
  return m->generator ? tri_generator_tokenizer(m->generator) : m->tokenizer;
}
int32_t tri_chat_model_context(const tri_chat_model *m) { return m->context; }

/* A connection for each answer: a talk has long pauses, in which the coordinator may have been started anew. */
static tri_status answer_by_cluster(const tri_chat_model *m, int interrupt_fd, tri_follow *f, tri_error *err) {
  tri_client *client;
  tri_status status = tri_client_dial(&client, m->options->coordinator, m->options->key_dir, interrupt_fd, m->options->timeout_s * 1000, err);
  if (status != TRI_OK) return status;
  status = tri_follow_job(client, f, err);
  tri_client_close(&client);
  return status;
}

tri_status tri_chat_model_answer(tri_chat_model *m, const tri_ids *prompt, const tri_buf *grammar, int interrupt_fd, tri_follow *f,
                                 tri_error *err) {
  if (m->generator) {
    f->payload = grammar;
    tri_status status = tri_generator_answer(m->generator, prompt, interrupt_fd, f, err);
    if (status == TRI_OK || status == TRI_E_CANCELLED) putchar('\n'), fflush(stdout);
    return status;
  }
  tri_buf payload = {0};
  tri_msg_submit request = *f->request;
  request.ids = true;
  if (request.predict > (uint32_t)m->context - prompt->len) request.predict = (uint32_t)(m->context - (int32_t)prompt->len);
  tri_buf_append(&payload, grammar->data, grammar->len);
  tri_buf_append(&payload, prompt->data, prompt->len * sizeof *prompt->data);
  f->request = &request, f->payload = &payload;
  tri_status status = tri_buf_ok(&payload) ? answer_by_cluster(m, interrupt_fd, f, err) : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_buf_free(&payload);
  f->request = NULL, f->payload = NULL; /* they were ours */
  return status;
}
