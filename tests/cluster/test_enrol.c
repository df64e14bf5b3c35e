/* SPDX-License-Identifier: MIT */
/* Machines and people join with tokens, and leave when their key is revoked: real processes, and intruders at the open link. */
#include "tests/cluster/lab.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "proto/beacon.h"
#include "proto/enrol.h"
#include "proto/loop.h"

enum { CUT_MS = 1000 };

static tri_error err;
static tri_cluster *c;
static tri_client *watcher;
static char coordinator[PATH_MAX];

static const char *folder(const char *name) {
  static char paths[8][PATH_MAX];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, PATH_MAX, "%s/%s", tri_cluster_dir(c), name);
  return path;
}

static int set_up(void **state) {
  (void)state;
  c = lab_start(1, 0, TRI_WIRE_INT8);
  watcher = lab_dial(c);
  snprintf(coordinator, sizeof coordinator, "%s", folder("coordinator"));
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  tri_client_close(&watcher);
  tri_cluster_stop(&c);
  return 0;
}

/* Run it; the exit code and a part of what it says must be these. */
#define expect(code, part, ...) expect_program(__LINE__, code, part, (const char *[]){__VA_ARGS__, NULL})
static void expect_program(int line, int code, const char *part, const char *const *argv) {
  tri_buf said = {0};
  int got = lab_program(argv, &said);
  if (got != code || !strstr((char *)said.data, part))
    fail_msg("line %d: exit code %d, not %d, or no '%s' in: %s", line, got, code, part, (char *)said.data);
  tri_buf_free(&said);
}

static void make_token(char out[TRI_TOKEN_TEXT], const char *role, const char *uses, const char *name) {
  tri_buf said = {0};
  assert_int_equal(lab_program((const char *[]){"trireme", "token", "create", "-k", coordinator, "--role", role, "--uses", uses, "--name",
                                                name, "--json", NULL}, &said), 0);
  json_t *doc = json_loads((char *)said.data, 0, NULL);
  assert_non_null(doc);
  snprintf(out, TRI_TOKEN_TEXT, "%s", json_string_value(json_object_get(doc, "token")));
  json_decref(doc);
  tri_buf_free(&said);
}

static pid_t start_worker(const char *token, const char *dir, int *fd) {
  return lab_spawn((const char *[]){"trireme-worker", "join", token, "-m", LAB_MODEL, "-k", dir, "-t", "1", NULL}, fd);
}

static int64_t limit_ms(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 10 * CUT_MS;
#else
  return CUT_MS;
#endif
}

static void clients_join_with_a_token(void **state) {
  (void)state;
  char token[TRI_TOKEN_TEXT], worker_token[TRI_TOKEN_TEXT];
  make_token(token, "client", "1", "alice");
  make_token(worker_token, "worker", "1", "pi");
  expect(2, "use `trireme-worker join`", "trireme", "join", worker_token, "-k", folder("mallory"));
  expect(2, "use `trireme join`", "trireme-worker", "join", token, "-k", folder("mallory"), "--no-start");
  expect(0, "as the client alice", "trireme", "join", token, "-k", folder("alice"));
  expect(0, "as the client alice", "trireme", "join", token, "-k", folder("alice")); /* as if the answer had been lost */
  expect(4, "this token has been used up", "trireme", "join", token, "-k", folder("mallory"));
  expect(4, "this token has been used up", "trireme", "join", token, "-k", folder("mallory2"));
  expect(0, ": serving", "trireme", "status", "-k", folder("alice"));
  expect(0, "tokens/s", "trireme", "submit", "-k", folder("alice"), "-p", "The king", "-n", "4");
  char public_key[PATH_MAX];
  snprintf(public_key, sizeof public_key, "%.4000s/public.key", coordinator);
  expect(0, "now trusts", "trireme", "keys", "-k", folder("mallory"), "--trust", public_key);
  expect(4, "refused our key", "trireme", "status", "--coordinator", tri_cluster_endpoint(c), "-k", folder("mallory"), "--timeout", "5");
  expect(0, "\"name\": \"alice\"", "trireme", "keys", "list", "-k", coordinator, "--json");
  expect(0, "used up", "trireme", "token", "list", "-k", coordinator);
  make_token(token, "client", "1", "alice");
  expect(0, "as the client alice-2", "trireme", "join", token, "-k", folder("bob"));
  expect(0, "now called bob", "trireme", "keys", "rename", "alice-2", "bob", "-k", coordinator);
  expect(0, ": serving", "trireme", "status", "-k", folder("bob")); /* another name is not another role */
  expect(3, "nobody has the name", "trireme", "keys", "revoke", "carol", "-k", coordinator);
}

static void a_worker_joins_and_is_cut_when_its_key_is_revoked(void **state) {
  (void)state;
  char token[TRI_TOKEN_TEXT];
  tri_buf said = {0};
  int fds[2];
  make_token(token, "worker", "2", "pi");
  pid_t first = start_worker(token, folder("pi"), &fds[0]);
  lab_await_status(watcher, "\"name\": \"pi\"");
  pid_t second = start_worker(token, folder("pi2"), &fds[1]);
  lab_await_status(watcher, "\"name\": \"pi-2\"");
  int64_t start = tri_clock_ms();
  expect(0, "the worker pi may no longer connect", "trireme", "keys", "revoke", "pi", "-k", coordinator);
  assert_int_equal(lab_finish(first, fds[0], &said), 4);
  int64_t took = tri_clock_ms() - start;
  assert_non_null(strstr((char *)said.data, "this worker's key was revoked"));
  print_message("a revoked worker ended after %d ms\n", (int)took);
  assert_in_range(took, 0, limit_ms());
  lab_await_status(watcher, "\"state\": \"lost\"");
  /* it may come back only by a token with a use left */
  expect(4, "refused our key", "trireme-worker", "-m", LAB_MODEL, "-k", folder("pi"), "-t", "1");
  expect(4, "this token has been used up", "trireme-worker", "join", token, "-k", folder("pi"), "--no-start");
  expect(0, "may no longer connect", "trireme", "keys", "revoke", "pi-2", "-k", coordinator);
  tri_buf_clear(&said);
  assert_int_equal(lab_finish(second, fds[1], &said), 4);
  tri_buf_free(&said);
}

/* An idle connection is ended too, not only refused when it speaks next. */
static void a_client_is_cut_when_its_key_is_revoked(void **state) {
  (void)state;
  char token[TRI_TOKEN_TEXT];
  tri_client *alice;
  tri_buf json = {0};
  tri_client_event e;
  make_token(token, "client", "1", "alice");
  expect(0, "alice", "trireme", "join", token, "-k", folder("alice"));
  assert_ok(tri_client_dial(&alice, NULL, folder("alice"), -1, LAB_WAIT_MS, &err), err);
  assert_ok(tri_client_status(alice, &json, LAB_WAIT_MS, &err), err);
  int64_t start = tri_clock_ms();
  expect(0, "alice", "trireme", "keys", "revoke", "alice", "-k", coordinator);
  assert_fails(tri_client_next(alice, &e, LAB_WAIT_MS, &err), TRI_E_UNREACHABLE, err, "lost");
  int64_t took = tri_clock_ms() - start;
  print_message("a revoked client's connection ended after %d ms\n", (int)took);
  assert_in_range(took, 0, limit_ms());
  tri_client_close(&alice);
  assert_int_equal(tri_client_dial(&alice, NULL, folder("alice"), -1, LAB_WAIT_MS, &err), TRI_E_DENIED);
  tri_buf_free(&json);
}

/* --- intruders --- */

typedef struct intruder {
  tri_keypair key;
  tri_net *net;
  tri_loop *loop;
  tri_link *link;
  tri_msg out, in;
  int answers;
} intruder;

static void on_link(void *arg) {
  intruder *i = arg;
  tri_incoming in;
  while (tri_link_recv(i->link, &in, &i->in, &err) == TRI_OK) i->answers++;
  tri_loop_stop(i->loop);
}

static void open_intruder(intruder *i, const tri_token *t) {
  char endpoint[TRI_MAX_ENDPOINT];
  *i = (intruder){0};
  tri_link_endpoint(endpoint, t->hosts, t->enrol_port);
  assert_ok(tri_keys_generate(&i->key, "intruder", &err), err);
  assert_ok(tri_net_create(&i->net, &i->key, NULL, NULL, &err), err);
  assert_ok(tri_loop_create(&i->loop, i->net, &err), err);
  assert_ok(tri_link_dial(&i->link, i->net, TRI_LINK_ENROL, endpoint, t->coordinator, &err), err);
  assert_ok(tri_loop_add_link(i->loop, i->link, on_link, i, &err), err);
}
static void close_intruder(intruder *i) {
  tri_loop_destroy(&i->loop);
  tri_link_close(&i->link);
  tri_net_destroy(&i->net);
}
static void go_on(intruder *i, int64_t most_ms) {
  tri_status status = tri_loop_run(i->loop, most_ms, &err);
  assert_true(status == TRI_OK || status == TRI_E_TIMEOUT);
}
static void await_up(intruder *i) {
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  while (tri_link_get_state(i->link) != TRI_LINK_UP) {
    assert_true(tri_clock_ms() < until);
    go_on(i, 100);
  }
}
/* Send i->out; the answer, a refusal, must hold `part`. */
static void must_be_refused(intruder *i, const char *part) {
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  i->answers = 0;
  await_up(i);
  assert_ok(tri_link_send(i->link, NULL, &i->out, NULL, 0, false, &err), err);
  while (!i->answers && tri_clock_ms() < until) go_on(i, 100);
  assert_int_equal(i->in.kind, TRI_MSG_REFUSE);
  if (!strstr(i->in.refuse.text, part)) fail_msg("\"%s\" lacks \"%s\"", i->in.refuse.text, part);
}

static void what_is_no_valid_token_is_refused_by_name(void **state) {
  (void)state;
  char text[TRI_TOKEN_TEXT];
  tri_token t, bad;
  intruder i, thief;
  make_token(text, "worker", "1", "pi");
  assert_ok(tri_token_parse(&t, text, &err), err);
  open_intruder(&i, &t);
  /* guesses */
  bad = t, bad.secret[0] ^= 1;
  assert_ok(tri_enrol_ask(&i.out, &bad, &i.key, TRI_ROLE_WORKER, &err), err);
  must_be_refused(&i, "not known here, or the proof of it is wrong");
  bad = t, bad.id[0] ^= 1;
  assert_ok(tri_enrol_ask(&i.out, &bad, &i.key, TRI_ROLE_WORKER, &err), err);
  must_be_refused(&i, "not known here, or the proof of it is wrong"); /* the same words */
  /* a message of another holder, sent again */
  open_intruder(&thief, &t);
  assert_ok(tri_enrol_ask(&i.out, &t, &i.key, TRI_ROLE_WORKER, &err), err);
  thief.out = i.out;
  must_be_refused(&thief, "the proof of it is wrong");
  /* what belongs on another link */
  i.out = (tri_msg){.kind = TRI_MSG_STATUS_REQUEST, .status_request = {.protocol = TRI_PROTOCOL}};
  must_be_refused(&i, "only Enrol is taken here");
  /* one that has expired */
  int64_t now_s = (int64_t)time(NULL);
  tri_grant old = {.role = TRI_ROLE_WORKER, .uses = 1, .expires_s = now_s - 1};
  assert_ok(tri_token_draw(&bad, &err), err);
  memcpy(old.id, bad.id, sizeof old.id);
  tri_token_key(&bad, old.key);
  assert_ok(tri_token_add(&old, coordinator, now_s, &err), err);
  assert_ok(tri_enrol_ask(&i.out, &bad, &i.key, TRI_ROLE_WORKER, &err), err);
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  do { /* until the coordinator has seen the file, in a tick */
    go_on(&i, 500);
    must_be_refused(&i, "");
  } while (!strstr(i.in.refuse.text, "this token has expired") && tri_clock_ms() < until);
  assert_non_null(strstr(i.in.refuse.text, "this token has expired"));
  close_intruder(&thief);
  close_intruder(&i);
  expect(0, "", "trireme", "keys", "-k", coordinator);
  tri_allow_list list;
  assert_ok(tri_keys_load_allowed(&list, coordinator, &err), err);
  assert_int_equal(list.count, 2); /* the cluster's own worker and client */
  tri_keys_free_allowed(&list);
  /* another coordinator than the token's */
  assert_ok(tri_token_parse(&t, text, &err), err);
  t.coordinator[0] ^= 1;
  assert_ok(tri_token_print(&t, text, &err), err);
  expect(4, "holds another key", "trireme-worker", "join", text, "-k", folder("misled"), "--no-start");
}

/* Bare TCP as fast as it goes, and wrong proofs as fast as the queue takes them. */
static void a_flood_of_tries_is_held_off_while_serving_goes_on(void **state) {
  (void)state;
  enum { FLOOD_MS = 3000 };
  char text[TRI_TOKEN_TEXT];
  tri_token t, wrong;
  tri_buf said = {0}, json = {0};
  intruder i;
  int fd, connections = 0, sent = 0;
  make_token(text, "client", "1", "late");
  assert_ok(tri_token_parse(&t, text, &err), err);
  wrong = t, wrong.secret[3] ^= 0x10;
  open_intruder(&i, &t);
  await_up(&i);
  pid_t submit = lab_spawn((const char *[]){"trireme", "submit", "--coordinator", tri_cluster_endpoint(c), "-k", folder("client"), "-p",
                                            "The king", "-n", "200", "--ignore-eos", NULL}, &fd);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(t.enrol_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int64_t until = tri_clock_ms() + FLOOD_MS; tri_clock_ms() < until;) {
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(tcp >= 0);
    if (connect(tcp, (struct sockaddr *)&to, sizeof to) == 0) connections++;
    close(tcp);
    assert_ok(tri_enrol_ask(&i.out, &wrong, &i.key, TRI_ROLE_CLIENT, &err), err);
    sent += tri_link_send(i.link, NULL, &i.out, NULL, 0, false, NULL) == TRI_OK;
    go_on(&i, 1);
  }
  print_message("%d connections and %d wrong proofs in %d ms, %d of them answered\n", connections, sent, FLOOD_MS, i.answers);
  assert_true(i.answers <= 32 + 2 * FLOOD_MS / 1000 + 1); /* the burst and what comes back in that time */
  close_intruder(&i);
  assert_int_equal(lab_finish(submit, fd, &said), 0);
  assert_ok(tri_client_status(watcher, &json, LAB_WAIT_MS, &err), err);
  json_t *doc = json_loads((char *)json.data, 0, NULL);
  assert_true(json_integer_value(json_object_get(doc, "refused_tokens")) > 32);
  assert_string_equal(json_string_value(json_object_get(doc, "state")), "serving");
  json_decref(doc);
  expect(0, "as the client late", "trireme", "join", text, "-k", folder("late")); /* the one with the right token still gets in */
  tri_buf_free(&said);
  tri_buf_free(&json);
}

static void the_link_is_there_only_while_there_is_a_token(void **state) {
  (void)state;
  char text[TRI_TOKEN_TEXT], id[TRI_TOKEN_ID_TEXT];
  tri_token t;
  make_token(text, "client", "1", "x");
  assert_ok(tri_token_parse(&t, text, &err), err);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(t.enrol_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int open = 1; open >= 0; open--) {
    int64_t until = tri_clock_ms() + LAB_WAIT_MS;
    bool is_open;
    do {
      int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      is_open = connect(tcp, (struct sockaddr *)&to, sizeof to) == 0;
      close(tcp);
      lab_await_status(watcher, "serving"); /* and a little time */
    } while (is_open != open && tri_clock_ms() < until);
    assert_int_equal(is_open, open);
    tri_token_id_text(t.id, id);
    if (open) expect(0, "no longer valid", "trireme", "token", "revoke", id, "-k", coordinator);
  }
  expect(4, "neither used up nor expired", "trireme", "join", text, "-k", folder("x"), "--timeout", "3");
}

/* Where the loopback has multicast. */
static void a_coordinator_that_is_elsewhere_is_found(void **state) {
  (void)state;
  uint8_t key[TRI_KEY_BYTES];
  char endpoint[TRI_MAX_ENDPOINT];
  const char *client = folder("client");
  assert_ok(tri_keys_load_coordinator(key, client, &err), err);
  if (tri_beacon_find(key, 2000, endpoint, &err) != TRI_OK) {
    print_message("no multicast over the loopback here: %s\n", err.text);
    skip();
  }
  assert_string_equal(endpoint, tri_cluster_endpoint(c));
  expect(0, tri_cluster_endpoint(c), "trireme", "discover", "--timeout", "1");
  expect(0, ": serving", "trireme", "status", "-k", client); /* its folder doesn't say where */
  assert_ok(tri_keys_load_endpoint(endpoint, client, &err), err);
  assert_string_equal(endpoint, tri_cluster_endpoint(c));
  assert_ok(tri_keys_save_coordinator(key, "tcp://127.0.0.1:1", client, &err), err); /* where nothing is */
  expect(0, ": serving", "trireme", "status", "-k", client, "--timeout", "2");
  /* a worker too, while it runs */
  char token[TRI_TOKEN_TEXT];
  tri_buf said = {0};
  int fd;
  make_token(token, "worker", "1", "pi");
  expect(0, "joined", "trireme-worker", "join", token, "-k", folder("pi"), "--no-start");
  assert_ok(tri_keys_save_coordinator(key, "tcp://127.0.0.1:1", folder("pi"), &err), err);
  pid_t worker = lab_spawn((const char *[]){"trireme-worker", "-m", LAB_MODEL, "-k", folder("pi"), "-t", "1", NULL}, &fd);
  lab_await_status(watcher, "\"name\": \"pi\"");
  assert_int_equal(kill(worker, SIGTERM), 0);
  assert_int_equal(lab_finish(worker, fd, &said), 0);
  assert_non_null(strstr((char *)said.data, "the coordinator does not answer at tcp://127.0.0.1:1, but at"));
  assert_ok(tri_keys_load_endpoint(endpoint, folder("pi"), &err), err);
  assert_string_equal(endpoint, tri_cluster_endpoint(c));
  tri_buf_free(&said);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(clients_join_with_a_token),
      EACH(a_worker_joins_and_is_cut_when_its_key_is_revoked),
      EACH(a_client_is_cut_when_its_key_is_revoked),
      EACH(what_is_no_valid_token_is_refused_by_name),
      EACH(a_flood_of_tries_is_held_off_while_serving_goes_on),
      EACH(the_link_is_there_only_while_there_is_a_token),
      EACH(a_coordinator_that_is_elsewhere_is_found),
  };
  return cmocka_run_group_tests(tests, lab_begin, lab_end);
}
