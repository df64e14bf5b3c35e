/* SPDX-License-Identifier: MIT */
/* The whole of a joiner's side of enrol.h. */
#include <stdio.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "proto/enrol.h"
#include "proto/loop.h"

typedef struct joiner {
  const tri_join_options *options;
  tri_token token;
  tri_keypair key;
  tri_joined joined;
  tri_loop *loop;
  tri_link *link;
  bool asked, answered;
  tri_status outcome; /* TRI_E_AGAIN: none yet */
  tri_msg message;
  tri_error *err;
} joiner;

/* The folder's key, or a new one. */
static tri_status take_key(joiner *j) {
  const tri_join_options *o = j->options;
  char host[TRI_MAX_NAME] = "";
  tri_error why;
  tri_status status = tri_keys_load(&j->key, o->dir, &why);
  if (status == TRI_E_NOT_FOUND) {
    if (!o->name && (gethostname(host, sizeof host - 1) != 0 || !host[0])) strcpy(host, "node");
    status = tri_keys_generate(&j->key, o->name ? o->name : host, j->err);
    if (status == TRI_OK) status = tri_keys_save(&j->key, o->dir, j->err);
    j->joined.made_key = status == TRI_OK;
    return status;
  }
  if (status != TRI_OK) return tri_status_fail(j->err, status, "%s", why.text);
  if (o->name && strlen(o->name) < TRI_MAX_NAME) strcpy(j->key.name, o->name);
  return o->name && strlen(o->name) >= TRI_MAX_NAME ? tri_status_fail(j->err, TRI_E_INVALID, "the name is too long") : TRI_OK;
}

/* A folder belongs to one coordinator: joining another one would cut it off from the first without a word. */
static tri_status check_trust(joiner *j) {
  uint8_t trusted[TRI_KEY_BYTES];
  tri_error why;
  tri_status status = tri_keys_load_coordinator(trusted, j->options->dir, &why);
  if (status == TRI_E_NOT_FOUND) return TRI_OK;
  if (status != TRI_OK) return tri_status_fail(j->err, status, "%s", why.text);
  if (memcmp(trusted, j->token.coordinator, TRI_KEY_BYTES) == 0) return TRI_OK;
  return tri_status_fail(j->err, TRI_E_INVALID, "%s/coordinator.key names another coordinator than the token; use another folder (-k DIR), "
                         "or remove that file to leave the first coordinator", j->options->dir);
}

static void finish(joiner *j, tri_status status) {
  j->outcome = status;
  tri_loop_stop(j->loop);
}

static void on_answer(joiner *j) {
  const tri_msg *m = &j->message;
  j->answered = true;
  if (m->kind == TRI_MSG_REFUSE) {
    finish(j, tri_status_fail(j->err, m->refuse.status == TRI_E_BUSY || m->refuse.status == TRI_E_INVALID ? (tri_status)m->refuse.status
                              : TRI_E_DENIED, "the coordinator refused: %s", m->refuse.text));
  } else if (m->kind == TRI_MSG_ENROLLED) {
    tri_status status = tri_enrol_accept(&m->enrolled, &j->token, j->key.public_key, j->options->role, j->err);
    if (status == TRI_OK) {
      j->joined.role = (tri_role)m->enrolled.role;
      strcpy(j->joined.name, m->enrolled.name);
      j->token.port = (uint16_t)m->enrolled.port;
    }
    finish(j, status);
  } else {
    finish(j, tri_status_fail(j->err, TRI_E_PROTOCOL, "the coordinator answered with %s", tri_msg_kind_name(m->kind)));
  }
}

static void on_link(void *arg) {
  joiner *j = arg;
  tri_link_state state = tri_link_get_state(j->link);
  if (state == TRI_LINK_WRONG_KEY) {
    tri_link_explain(j->link, j->err);
    finish(j, TRI_E_DENIED);
    return;
  }
  if (state == TRI_LINK_UP && !j->asked) {
    tri_status status = tri_enrol_ask(&j->message, &j->token, &j->key, j->options->role, j->err);
    if (status == TRI_OK) status = tri_link_send(j->link, NULL, &j->message, NULL, 0, false, j->err);
    j->asked = status == TRI_OK;
    if (status != TRI_OK && status != TRI_E_BUSY) finish(j, status);
  } else if (state != TRI_LINK_UP) {
    j->asked = false; /* a lost answer: the same question on the next connection is not counted twice */
  }
  tri_incoming in;
  tri_status status = tri_link_recv(j->link, &in, &j->message, j->err);
  if (status == TRI_OK) on_answer(j);
  else if (status != TRI_E_AGAIN) finish(j, status);
}

/* One of the token's hosts, for at most so long. */
static tri_status try_host(joiner *j, const char *host, int64_t timeout_ms) {
  tri_net *net = NULL;
  char endpoint[TRI_MAX_ENDPOINT];
  j->outcome = TRI_E_AGAIN, j->asked = false;
  tri_link_endpoint(endpoint, host, j->token.enrol_port);
  tri_status status = tri_net_create(&net, &j->key, NULL, NULL, j->err);
  if (status == TRI_OK) status = tri_loop_create(&j->loop, net, j->err);
  if (status == TRI_OK) status = tri_link_dial(&j->link, net, TRI_LINK_ENROL, endpoint, j->token.coordinator, j->err);
  if (status == TRI_OK) status = tri_loop_add_link(j->loop, j->link, on_link, j, j->err);
  if (status == TRI_OK) status = tri_loop_run(j->loop, timeout_ms, j->err);
  if (status == TRI_OK) status = j->outcome;
  if (status == TRI_E_TIMEOUT) {
    tri_error why = {0};
    bool up = tri_link_get_state(j->link) == TRI_LINK_UP;
    tri_link_explain(j->link, &why);
    if (tri_link_get_state(j->link) == TRI_LINK_DENIED) /* it lets every key try, but none too often */
      tri_status_fail(&why, TRI_E_BUSY, "%s has had too many tries from this address, or from all; try again in a minute", endpoint);
    status = tri_status_fail(j->err, TRI_E_UNREACHABLE, "%s%s", up ? "no answer from the coordinator: " : why.text,
                             up ? endpoint : tri_link_get_state(j->link) == TRI_LINK_DENIED ? "" :
             "; a coordinator takes tokens only while it has one that is neither used up nor expired");
  }
  if (status == TRI_OK) tri_link_endpoint(j->joined.endpoint, host, j->token.port);
  tri_loop_destroy(&j->loop);
  tri_link_close(&j->link);
  tri_net_destroy(&net);
  return status;
}

/* Until the coordinator itself answers: at one of these addresses there may be another machine in our network. */
static tri_status try_hosts(joiner *j) {
  char hosts[TRI_MAX_ENDPOINT], *rest = hosts, *host;
  tri_status status = TRI_E_UNREACHABLE;
  strcpy(hosts, j->token.hosts);
  int64_t n = 1;
  for (const char *p = hosts; (p = strchr(p, ',')); p++) n++;
  while ((host = strsep(&rest, ","))) {
    status = try_host(j, host, j->options->timeout_ms / n);
    if (j->answered || (status != TRI_E_UNREACHABLE && status != TRI_E_DENIED && status != TRI_E_INVALID)) break;
  }
  return status;
}

/* "-": from standard input, as arguments can be seen by others. */
static tri_status read_token(joiner *j) {
  char line[TRI_TOKEN_TEXT + 2] = "";
  if (strcmp(j->options->token, "-") != 0) return tri_token_parse(&j->token, j->options->token, j->err);
  if (!fgets(line, sizeof line, stdin)) return tri_status_fail(j->err, TRI_E_INVALID, "no token came over standard input");
  line[strcspn(line, "\r\n")] = 0;
  tri_status status = tri_token_parse(&j->token, line, j->err);
  sodium_memzero(line, sizeof line);
  return status;
}

tri_status tri_enrol_join(const tri_join_options *o, tri_joined *out, tri_error *err) {
  joiner j = {.options = o, .err = err};
  tri_status status = read_token(&j);
  if (status == TRI_OK) status = check_trust(&j);
  if (status == TRI_OK) status = take_key(&j);
  if (status == TRI_OK) status = try_hosts(&j);
  if (status == TRI_OK) {
    memset(j.key.name, 0, sizeof j.key.name);
    strcpy(j.key.name, j.joined.name);
    status = tri_keys_save_name(&j.key, o->dir, err);
  }
  if (status == TRI_OK) status = tri_keys_save_coordinator(j.token.coordinator, j.joined.endpoint, o->dir, err);
  if (status == TRI_OK) *out = j.joined;
  tri_keys_wipe(&j.key);
  sodium_memzero(&j.token, sizeof j.token);
  return status;
}
