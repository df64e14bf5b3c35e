/* SPDX-License-Identifier: MIT */
/* The glue's side that faces those who hold a token. Anyone may speak here, so whatever is not a valid token costs us a look-up
 * and a MAC at most, each address and all together only so often, and the link is there only while there is a token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "coordinator/coordinator_impl.h"
#include "proto/enrol.h"
#include "proto/throttle.h"

enum {
  EACH_BURST = 32, EACH_PER_S = 2, ALL_BURST = 128, ALL_PER_S = 32, /* tries; a handshake is one and a message is one */
  LATE_MS = 30000, /* after an enrolment the link stays, for one whose answer was lost */
  RETRY_MS = 5000, /* when the port is taken */
  REOPEN_MS = 500, /* libzmq lets go of a port a little after the socket is closed */
  GUESTS = 64, STAY_MS = 10000, /* after so many connections, and so long, all of them end: none may be held for ever */
};

struct coordinator_enrolment {
  char endpoint[TRI_MAX_ENDPOINT]; /* empty: nowhere */
  tri_link *link;                  /* NULL: closed */
  tri_grant_list grants;
  coordinator_stamp stamp;
  tri_throttle throttle;
  int64_t late_until_ms, retry_at_ms, opened_ms;
  uint32_t guests; /* let in since it was opened */
  uint64_t refused;
};

static int64_t wall_s(void) { return (int64_t)time(NULL); }

/* --- tokens --- */

static void follow_tokens(coordinator *c) {
  coordinator_enrolment *e = c->enrolment;
  tri_error err;
  tri_grant_list list = {0};
  if (!coordinator_file_changed(c, "tokens", &e->stamp)) return;
  if (tri_token_load(&list, c->config->key_dir, wall_s(), &err) != TRI_OK) TRI_ERROR("no token is taken: %s", err.text);
  tri_token_free_list(&e->grants);
  e->grants = list;
}

/* --- messages --- */

static void refuse(coordinator *c, const tri_incoming *in, tri_status status, const char *said, const char *logged) {
  c->enrolment->refused++;
  if (coordinator_may_warn(c)) TRI_WARN("refused an enrolment from %s: %s", in->address, logged);
  c->outgoing = (tri_msg){.kind = TRI_MSG_REFUSE, .refuse = {.status = status}};
  snprintf(c->outgoing.refuse.text, sizeof c->outgoing.refuse.text, "%s", said);
  if (tri_link_send(c->enrolment->link, &in->from, &c->outgoing, NULL, 0, false, NULL) != TRI_OK)
    tri_link_cut(c->enrolment->link, in->key);
}

/* Onto the list, for one use of the token. The use goes first: a crash in between must not give one away. */
static tri_status admit(coordinator *c, const tri_grant *grant, tri_allowed *who, tri_error *err) {
  tri_status status = tri_token_spend(grant->id, c->config->key_dir, wall_s(), err);
  if (status != TRI_OK) return status;
  status = tri_keys_admit(who, c->config->key_dir, err);
  if (status != TRI_OK) TRI_ERROR("an enrolment failed after its token was used: %s", err->text);
  coordinator_follow_allowed(c);
  return status;
}

static void answer(coordinator *c, const tri_incoming *in, const tri_grant *grant, const tri_allowed *who) {
  uint16_t port = (uint16_t)strtoul(strrchr(c->endpoint, ':') + 1, NULL, 10);
  tri_enrol_answer(&c->outgoing, grant, &c->key, who, port);
  tri_error err;
  if (tri_link_send(c->enrolment->link, &in->from, &c->outgoing, NULL, 0, false, &err) != TRI_OK)
    TRI_WARN("%s has not heard that it is enrolled: %s", who->name, err.text);
  c->enrolment->late_until_ms = tri_clock_ms() + LATE_MS;
}

static void on_enrol(coordinator *c, const tri_incoming *in, const tri_msg_enrol *m) {
  char id[TRI_TOKEN_ID_TEXT], why[TRI_MAX_TEXT];
  tri_error err = {0};
  tri_allowed who;
  follow_tokens(c); /* it may have been made just now */
  const tri_grant *found = tri_token_find(&c->enrolment->grants, m->token);
  tri_token_id_text(m->token, id);
  tri_status status = tri_enrol_check(m, found, &c->key, in->key, &who, &err);
  if (status != TRI_OK) {
    snprintf(why, sizeof why, "token %s: %s", id, err.text);
    /* whether there is such a token is for its holder only */
    refuse(c, in, status, status == TRI_E_DENIED ? "this token is not known here, or the proof of it is wrong" : err.text, why);
    return;
  }
  const tri_grant grant = *found; /* the list may be read again */
  const tri_allowed *known = tri_keys_find(&c->allowed, in->key);
  if (known && known->role == grant.role) {
    TRI_INFO("%s from %s enrolled again with token %s: told so again", known->name, in->address, id);
    answer(c, in, &grant, known);
    return;
  }
  if (known) {
    status = tri_status_fail(&err, TRI_E_INVALID,
                             "this key is on the list already, as the %s %s; revoke it first, or use another key folder",
                             tri_keys_role_name(known->role), known->name);
  } else {
    status = admit(c, &grant, &who, &err);
  }
  if (status != TRI_OK) {
    snprintf(why, sizeof why, "token %s: %s", id, err.text);
    refuse(c, in, status, status == TRI_E_IO ? "this coordinator cannot write its lists; see its log" : err.text, why);
    return;
  }
  TRI_INFO("enrolled the %s %s from %s with token %s", tri_keys_role_name(who.role), who.name, in->address, id);
  answer(c, in, &grant, &who);
}

static void read_enrolments(void *arg) {
  coordinator *c = arg;
  for (int i = 0; i < COORDINATOR_FAIR; i++) {
    tri_incoming in;
    tri_error err = {0};
    tri_status status = tri_link_recv(c->enrolment->link, &in, &c->incoming, &err);
    if (status == TRI_E_AGAIN) return;
    if (!tri_throttle_take(&c->enrolment->throttle, in.address, tri_clock_ms())) {
      c->enrolment->refused++;
      if (coordinator_may_warn(c)) TRI_WARN("cut an enrolment connection from %s: too many tries", in.address);
      tri_link_cut(c->enrolment->link, in.key);
    } else if (status != TRI_OK) {
      refuse(c, &in, TRI_E_PROTOCOL, "that is no message of this protocol", err.text);
    } else if (c->incoming.kind != TRI_MSG_ENROL) {
      refuse(c, &in, TRI_E_PROTOCOL, "only Enrol is taken here", "a message that is not for this link");
    } else {
      on_enrol(c, &in, &c->incoming.enrol);
    }
  }
}

/* --- the link --- */

bool coordinator_enrol_allow(coordinator *c, const char *address) {
  if (tri_throttle_take(&c->enrolment->throttle, address, tri_clock_ms())) return c->enrolment->guests++, true;
  c->enrolment->refused++;
  if (coordinator_may_warn(c)) TRI_WARN("refused an enrolment connection from %s: too many tries", address);
  return false;
}

static void close_link(coordinator *c) {
  coordinator_enrolment *e = c->enrolment;
  if (!e->link) return;
  tri_loop_remove_link(c->loop, e->link);
  tri_link_close(&e->link);
}

static tri_status open_link(coordinator *c, uint16_t *port, tri_error *err) {
  coordinator_enrolment *e = c->enrolment;
  tri_status status = tri_link_listen(&e->link, c->net, TRI_LINK_ENROL, e->endpoint, COORDINATOR_ENROL_DOMAIN, port, err);
  if (status != TRI_OK) return status;
  status = tri_loop_add_link(c->loop, e->link, read_enrolments, c, err);
  if (status != TRI_OK) tri_link_close(&e->link);
  e->guests = 0, e->opened_ms = tri_clock_ms();
  return status;
}

/* ENDPOINT with this port. */
static void set_port(char out[TRI_MAX_ENDPOINT], const char *endpoint, unsigned port) {
  char text[TRI_MAX_ENDPOINT]; /* as out may be endpoint */
  snprintf(text, sizeof text, "%.*s:%u", (int)(strrchr(endpoint, ':') - endpoint), endpoint, port);
  strcpy(out, text);
}

/* A port of the system's choice is chosen once, so that tokens can name it. */
static tri_status choose_port(coordinator *c, tri_error *err) {
  coordinator_enrolment *e = c->enrolment;
  unsigned long control = strtoul(strrchr(c->endpoint, ':') + 1, NULL, 10);
  bool any = strtoul(strrchr(c->config->listen, ':') + 1, NULL, 10) == 0;
  uint16_t port;
  if (c->config->enrol) snprintf(e->endpoint, sizeof e->endpoint, "%s", c->config->enrol);
  else set_port(e->endpoint, c->endpoint, any || control == UINT16_MAX ? 0 : (unsigned)control + 1);
  const char *colon = strrchr(e->endpoint, ':');
  if (colon && strcmp(colon, ":0") != 0) return TRI_OK;
  tri_status status = open_link(c, &port, err);
  if (status != TRI_OK) return tri_status_prefix(err, status, "--enrol");
  set_port(e->endpoint, e->endpoint, port);
  close_link(c);
  return TRI_OK;
}

tri_status coordinator_enrol_start(coordinator *c, tri_error *err) {
  coordinator_enrolment *e = c->enrolment = calloc(1, sizeof *e);
  if (!e) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  e->stamp = COORDINATOR_NEVER_READ;
  tri_throttle_init(&e->throttle, EACH_BURST, EACH_PER_S, ALL_BURST, ALL_PER_S, tri_clock_ms());
  tri_status status = c->config->enrol && strcmp(c->config->enrol, "none") == 0 ? TRI_OK : choose_port(c, err);
  if (status != TRI_OK) return status;
  tri_error why;
  if (tri_keys_save_listening(c->endpoint, e->endpoint, c->config->key_dir, &why) != TRI_OK)
    TRI_WARN("tokens need --endpoint, as they can't find out where this coordinator is: %s", why.text);
  coordinator_enrol_tend(c);
  return TRI_OK;
}

uint64_t coordinator_enrol_refused(const coordinator *c) { return c->enrolment->refused; }

void coordinator_enrol_tend(coordinator *c) {
  coordinator_enrolment *e = c->enrolment;
  int64_t now_ms = tri_clock_ms(), now_s = wall_s();
  tri_error err;
  bool live = false;
  if (!e->endpoint[0]) return;
  follow_tokens(c);
  for (size_t i = 0; i < e->grants.count && !live; i++) live = tri_token_is_live(&e->grants.items[i], now_s);
  live |= now_ms < e->late_until_ms;
  if (e->link && e->guests >= GUESTS && now_ms - e->opened_ms >= STAY_MS) { /* who has business here dials again */
    close_link(c);
    e->retry_at_ms = now_ms + REOPEN_MS;
  }
  if (e->link && !live) {
    TRI_INFO("no token is left: enrolments are no longer taken");
    close_link(c);
  } else if (!e->link && live && now_ms >= e->retry_at_ms) {
    if (open_link(c, NULL, &err) == TRI_OK) TRI_INFO("enrolments are taken on %s while there is a token", e->endpoint);
    else TRI_ERROR("enrolments: %s", err.text), e->retry_at_ms = now_ms + RETRY_MS;
  }
}

void coordinator_enrol_close(coordinator *c) {
  if (!c->enrolment) return;
  if (c->loop) close_link(c);
  tri_token_free_list(&c->enrolment->grants);
  free(c->enrolment);
  c->enrolment = NULL;
}
