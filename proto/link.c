/* SPDX-License-Identifier: MIT */
#include "proto/link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>
#include "base/clock.h"
#include "proto/net.h"

enum {
  LINGER_MS = 200,
  HANDSHAKE_MS = 5000,
  HEARTBEAT_MS = 3000,       /* a ping this often, */
  DEAD_MS = 10000,           /* and a peer that sends nothing for so long is gone */
  RECONNECT_MS = 100,
  RECONNECT_MAX_MS = 2000,
  DATA_QUEUE = 64,           /* messages, each way */
  CONTROL_QUEUE = 1024,
  ENROL_QUEUE = 16,
  ENROL_BYTES = 1024,        /* more than any message there */
  MAX_SOURCES = 1 << 16,
  FRAME_OVERHEAD = 256,      /* what CURVE puts around a frame, with room to spare */
};

/* In every libzmq since 4.3.0, but named only in headers with its draft API. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

/* Who last sent a message over a TCP connection: its key, and the address by which a later one of the same number is told. */
typedef struct source {
  uint8_t key[TRI_KEY_BYTES];
  struct sockaddr_in6 address; /* family 0: none */
} source;

struct tri_link {
  tri_net *net;
  tri_link_kind kind;
  bool listening;
  void *socket;
  size_t payload_limit;
  char endpoint[TRI_MAX_ENDPOINT];
  uint8_t server_key[TRI_KEY_BYTES]; /* dialled */
  tri_watch watch;                   /* dialled */
  tri_buf envelope;                  /* being sent */
  zmq_msg_t payload;                 /* last received */
  uint64_t sent_bytes;
  source *sources;                   /* listening ROUTER: by file descriptor */
  size_t n_sources;
};

static bool is_routed(const tri_link *link) { return link->listening && link->kind != TRI_LINK_DATA; }

/* ---- Making sockets ---- */

void tri_link_endpoint(char out[TRI_MAX_ENDPOINT], const char *host, uint16_t port) {
  bool bare_v6 = strchr(host, ':') && host[0] != '[';
  snprintf(out, TRI_MAX_ENDPOINT, bare_v6 ? "tcp://[%s]:%u" : "tcp://%s:%u", host, port);
}

/* tcp://HOST:PORT; libzmq would find out about a bad port only when it connects, and tell nobody. */
static bool is_endpoint(const char *text, bool listening) {
  const char *scheme = "tcp://", *colon = strrchr(text, ':');
  if (strlen(text) >= TRI_MAX_ENDPOINT || strncmp(text, scheme, strlen(scheme)) != 0) return false;
  const char *host = text + strlen(scheme);
  if (colon <= host || (strchr(host, ':') != colon && (host[0] != '[' || colon[-1] != ']'))) return false;
  size_t digits = strspn(colon + 1, "0123456789");
  unsigned long port = strtoul(colon + 1, NULL, 10);
  return digits > 0 && digits <= 5 && colon[1 + digits] == 0 && port <= UINT16_MAX && (listening || port > 0);
}

static tri_status set_common(tri_link *link, tri_error *err) {
  static const int queues[] = {[TRI_LINK_CONTROL] = CONTROL_QUEUE, [TRI_LINK_DATA] = DATA_QUEUE, [TRI_LINK_ENROL] = ENROL_QUEUE};
  int queue = queues[link->kind];
  /* libzmq (4.3.4) aborts if it is to ping a peer that has gone while its messages wait to be read. Where strangers can have messages
   * waiting it must not ping. */
  bool pings = link->kind != TRI_LINK_ENROL;
  const tri_net_option options[] = {
      {ZMQ_LINGER, LINGER_MS},
      {ZMQ_SNDHWM, queue},
      {ZMQ_RCVHWM, queue},
      {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
      {ZMQ_HEARTBEAT_IVL, pings ? HEARTBEAT_MS : 0},
      {ZMQ_HEARTBEAT_TIMEOUT, DEAD_MS},
      {ZMQ_HEARTBEAT_TTL, DEAD_MS},
      {ZMQ_CONNECT_TIMEOUT, HANDSHAKE_MS},
      {ZMQ_RECONNECT_IVL, RECONNECT_MS},
      {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS},
      {ZMQ_TCP_KEEPALIVE, 1},
      {ZMQ_IPV6, 1}, /* libzmq falls back to IPv4 where the kernel has no other */
      /* A queue exists from the handshake to the loss of the connection: nothing is replayed to a peer that has forgotten us. */
      {ZMQ_IMMEDIATE, 1},
      {ZMQ_CURVE_SERVER, link->listening},
  };
  tri_status status = tri_net_set_options(link->socket, options, sizeof options / sizeof options[0], err);
  if (status != TRI_OK) return status;
  size_t most = link->payload_limit > TRI_MAX_ENVELOPE ? link->payload_limit : TRI_MAX_ENVELOPE;
  if (link->kind == TRI_LINK_ENROL) most = ENROL_BYTES;
  int64_t frame = (int64_t)most + FRAME_OVERHEAD;
  const tri_keypair *self = &link->net->self;
  if (zmq_setsockopt(link->socket, ZMQ_MAXMSGSIZE, &frame, sizeof frame) != 0 ||
      zmq_setsockopt(link->socket, ZMQ_CURVE_PUBLICKEY, self->public_key, TRI_KEY_BYTES) != 0 ||
      zmq_setsockopt(link->socket, ZMQ_CURVE_SECRETKEY, self->secret_key, TRI_KEY_BYTES) != 0)
    return tri_status_fail(err, TRI_E_INTERNAL, "a link's key or limit: %s", zmq_strerror(zmq_errno()));
  return TRI_OK;
}

static tri_status open_socket(tri_link *link, int type, tri_error *err) {
  link->socket = zmq_socket(link->net->context, type);
  if (!link->socket) return tri_status_fail(err, TRI_E_NOMEM, "cannot make a socket: %s", zmq_strerror(zmq_errno()));
  return set_common(link, err);
}

/* NULL with *status set when it fails. */
static tri_link *new_link(tri_net *net, tri_link_kind kind, bool listening, const char *endpoint, tri_status *status,
                          tri_error *err) {
  if (!is_endpoint(endpoint, listening)) {
    *status = tri_status_fail(err, TRI_E_INVALID, "\"%s\" is not an endpoint of the form tcp://HOST:PORT", endpoint);
    return NULL;
  }
  tri_link *link = calloc(1, sizeof *link);
  *status = link ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for a link");
  if (!link) return NULL;
  link->net = net, link->kind = kind, link->listening = listening, link->payload_limit = net->payload_limit;
  strcpy(link->endpoint, endpoint);
  zmq_msg_init(&link->payload);
  return link;
}

static tri_status bind_socket(tri_link *link, const char *domain, uint16_t *port, tri_error *err) {
  /* Without the first option libzmq lets everyone in when the allow function cannot be asked; without the second a message to
   * a peer that has gone vanishes. A peer can't take over the route of another: ZMQ_ROUTER_HANDOVER stays off. */
  static const tri_net_option options[] = {{ZMQ_ZAP_ENFORCE_DOMAIN, 1}, {ZMQ_ROUTER_MANDATORY, 1}};
  tri_status status = tri_net_set_options(link->socket, options, is_routed(link) ? 2 : 1, err);
  if (status != TRI_OK) return status;
  if (zmq_setsockopt(link->socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) != 0)
    return tri_status_fail(err, TRI_E_INVALID, "a listening link's domain: %s", zmq_strerror(zmq_errno()));
  if (zmq_bind(link->socket, link->endpoint) != 0) {
    bool no_host = zmq_errno() == ENODEV || zmq_errno() == EINVAL;
    return tri_status_fail(err, no_host ? TRI_E_INVALID : TRI_E_IO, "cannot listen on %s: %s", link->endpoint,
                           no_host ? "HOST must be an address or an interface of this machine, or *" : zmq_strerror(zmq_errno()));
  }
  char bound[TRI_MAX_ENDPOINT];
  size_t size = sizeof bound;
  if (zmq_getsockopt(link->socket, ZMQ_LAST_ENDPOINT, bound, &size) != 0)
    return tri_status_fail(err, TRI_E_INTERNAL, "%s: which port? %s", link->endpoint, zmq_strerror(zmq_errno()));
  if (port) *port = (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10);
  return TRI_OK;
}

tri_status tri_link_listen(tri_link **out, tri_net *net, tri_link_kind kind, const char *endpoint, const char *domain,
                           uint16_t *port, tri_error *err) {
  if (!domain[0]) return tri_status_fail(err, TRI_E_INVALID, "a listening link needs a domain");
  tri_status status;
  tri_link *link = new_link(net, kind, true, endpoint, &status, err);
  if (!link) return status;
  link->watch.state = TRI_LINK_UP;
  status = open_socket(link, kind == TRI_LINK_DATA ? ZMQ_PULL : ZMQ_ROUTER, err);
  if (status == TRI_OK) status = bind_socket(link, domain, port, err);
  if (status != TRI_OK) tri_link_close(&link);
  else *out = link;
  return status;
}

/* A new socket and its monitor, on their way to the endpoint. */
static tri_status start_dialling(tri_link *link, tri_error *err) {
  tri_status status = open_socket(link, link->kind == TRI_LINK_DATA ? ZMQ_PUSH : ZMQ_DEALER, err);
  if (status != TRI_OK) return status;
  if (zmq_setsockopt(link->socket, ZMQ_CURVE_SERVERKEY, link->server_key, TRI_KEY_BYTES) != 0)
    return tri_status_fail(err, TRI_E_INVALID, "the listener's key: %s", zmq_strerror(zmq_errno()));
  status = tri_watch_open(&link->watch, link->net, link->socket, err);
  if (status == TRI_OK && zmq_connect(link->socket, link->endpoint) != 0)
    return tri_status_fail(err, zmq_errno() == EINVAL ? TRI_E_INVALID : TRI_E_IO, "cannot connect to %s: %s", link->endpoint,
                           zmq_strerror(zmq_errno()));
  return status;
}

static void close_sockets(void *socket, void *monitor) {
  if (!socket) return;
  if (monitor) {
    zmq_socket_monitor(socket, NULL, 0);
    zmq_close(monitor);
  }
  zmq_close(socket);
}

tri_status tri_link_dial(tri_link **out, tri_net *net, tri_link_kind kind, const char *endpoint,
                         const uint8_t server_key[TRI_KEY_BYTES], tri_error *err) {
  tri_status status;
  tri_link *link = new_link(net, kind, false, endpoint, &status, err);
  if (!link) return status;
  memcpy(link->server_key, server_key, TRI_KEY_BYTES);
  status = start_dialling(link, err);
  if (status != TRI_OK) tri_link_close(&link);
  else *out = link;
  return status;
}

void tri_link_close(tri_link **link) {
  tri_link *l = *link;
  if (!l) return;
  close_sockets(l->socket, l->watch.monitor);
  zmq_msg_close(&l->payload);
  tri_buf_free(&l->envelope);
  free(l->sources);
  free(l);
  *link = NULL;
}

/* ---- A dialled link's state ---- */

tri_link_state tri_link_get_state(tri_link *link) {
  if (!link->listening) tri_watch_update(&link->watch, tri_clock_ms());
  return link->watch.state;
}

uint32_t tri_link_connections(tri_link *link) {
  tri_link_get_state(link);
  return link->watch.connections;
}

void tri_link_explain(tri_link *link, tri_error *err) {
  switch (tri_link_get_state(link)) {
  case TRI_LINK_UP: tri_status_fail(err, TRI_OK, "connected to %s", link->endpoint); break;
  case TRI_LINK_CONNECTING:
    if (link->watch.connections)
      tri_status_fail(err, TRI_E_UNREACHABLE, "lost the connection to %s; trying again", link->endpoint);
    else if (link->watch.stalled)
      tri_status_fail(err, TRI_E_UNREACHABLE, "%s takes connections but does not answer: it hangs, or is not a Trireme port",
                      link->endpoint);
    else
      tri_status_fail(err, TRI_E_UNREACHABLE,
                      "cannot reach %s: nothing answers; check the address, that it is running there, and the firewall between",
                      link->endpoint);
    break;
  case TRI_LINK_DENIED:
    tri_status_fail(err, TRI_E_DENIED, "%s refused our key: it must be on the allow-list there, in a role that may connect",
                    link->endpoint);
    break;
  case TRI_LINK_WRONG_KEY:
    tri_status_fail(err, TRI_E_DENIED,
                    "%s answers, but the handshake fails: most likely it holds another key than the one we were given for it "
                    "(compare with its public.key), or it is not a Trireme port",
                    link->endpoint);
    break;
  }
}

void *tri_link_socket(tri_link *link) { return link->socket; }
void *tri_link_monitor(tri_link *link) { return link->watch.monitor; }
uint32_t tri_link_changes(tri_link *link) { return link->watch.changes; }
int64_t tri_link_due_ms(tri_link *link) { return link->watch.redial_ms; }

void tri_link_redial(tri_link *link) {
  void *socket = link->socket, *monitor = link->watch.monitor;
  if (start_dialling(link, NULL) == TRI_OK) {
    close_sockets(socket, monitor);
    link->watch.redial_ms = 0;
  } else { /* out of some resource: keep what we have, and try again after as long */
    close_sockets(link->socket, link->watch.monitor);
    link->socket = socket, link->watch.monitor = monitor;
    link->watch.redial_ms = tri_clock_ms() + RECONNECT_MAX_MS;
  }
}

/* ---- Messages ---- */

/* The most payload that a kind may carry. */
static size_t payload_limit(const tri_link *link, tri_msg_kind kind) {
  size_t text = link->payload_limit < TRI_MAX_PROMPT ? link->payload_limit : TRI_MAX_PROMPT;
  switch (kind) {
  case TRI_MSG_STEP:
  case TRI_MSG_RESULT:
  case TRI_MSG_TOKENS: return link->payload_limit;
  case TRI_MSG_SUBMIT:
  case TRI_MSG_DONE:
  case TRI_MSG_TRACE:
  case TRI_MSG_JOBS:
  case TRI_MSG_STATUS: return text;
  case TRI_MSG_OPEN: return TRI_GRAMMAR_BYTES + TRI_MAX_CONTEXT * sizeof(int32_t);
  case TRI_MSG_MODEL: return TRI_MANIFEST_BYTES;
  case TRI_MSG_PREFETCH:
  case TRI_MSG_HOLDS: return TRI_HOLDS_BYTES;
  case TRI_MSG_CHUNK: return TRI_CHUNK_BYTES;
  case TRI_MSG_PING:
  case TRI_MSG_PONG: return TRI_PING_BYTES;
  default: return 0;
  }
}

/* What comes with an owned payload, and is freed with it. */
typedef struct owned_note {
  tri_net *net;
  size_t len;
} owned_note;

/* On any thread. */
static void free_payload(void *payload, void *hint) {
  owned_note *note = hint;
  atomic_fetch_sub(&note->net->unsent, note->len);
  free(note);
  free(payload);
}

static bool take_payload(tri_net *net, zmq_msg_t *frame, void *payload, size_t len) {
  owned_note *note = malloc(sizeof *note);
  if (!note) return false;
  *note = (owned_note){net, len};
  atomic_fetch_add(&net->unsent, len);
  if (zmq_msg_init_data(frame, payload, len, free_payload, note) == 0) return true;
  atomic_fetch_sub(&net->unsent, len);
  free(note);
  return false;
}

/* libzmq looks at its threads' news (a new connection, a queue that has drained) only now and then while it sends; asking for
 * the events makes it look now. */
static void refresh(void *socket) {
  int events;
  size_t size = sizeof events;
  zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size);
}

static tri_status send_failed(const tri_link *link, tri_error *err) {
  switch (zmq_errno()) {
  case EHOSTUNREACH: return tri_status_fail(err, TRI_E_NOT_FOUND, "the peer has gone");
  case EAGAIN:
    if (!link->listening && link->watch.state != TRI_LINK_UP)
      return tri_status_fail(err, TRI_E_BUSY, "not connected to %s", link->endpoint);
    return tri_status_fail(err, TRI_E_BUSY, "the peer's queue is full");
  default: return tri_status_fail(err, TRI_E_INTERNAL, "cannot send: %s", zmq_strerror(zmq_errno()));
  }
}

/* The message's first frame decides whether the peer can take it; the others follow it into the same queue, and one that
 * fails (the connection was lost in between) takes the whole message back. */
static bool send_first(void *socket, const void *bytes, size_t len, int flags) {
  if (zmq_send(socket, bytes, len, flags) >= 0) return true;
  if (zmq_errno() != EAGAIN && zmq_errno() != EHOSTUNREACH) return false;
  refresh(socket);
  return zmq_send(socket, bytes, len, flags) >= 0;
}

static tri_status send_frames(tri_link *link, const tri_peer *to, zmq_msg_t *payload, tri_error *err) {
  size_t payload_len = zmq_msg_size(payload);
  int flags = ZMQ_DONTWAIT | (payload_len ? ZMQ_SNDMORE : 0);
  const tri_buf *envelope = &link->envelope;
  bool ok = to ? send_first(link->socket, to->route, to->route_len, ZMQ_DONTWAIT | ZMQ_SNDMORE) &&
                     zmq_send(link->socket, envelope->data, envelope->len, flags) >= 0
               : send_first(link->socket, envelope->data, envelope->len, flags);
  if (ok && payload_len) ok = zmq_msg_send(payload, link->socket, ZMQ_DONTWAIT) >= 0;
  if (!ok) return send_failed(link, err);
  link->sent_bytes += envelope->len + payload_len;
  return TRI_OK;
}

tri_status tri_link_send(tri_link *link, const tri_peer *to, const tri_msg *m, void *payload, size_t len, bool owned,
                         tri_error *err) {
  zmq_msg_t frame; /* owns the payload from here on */
  zmq_msg_init(&frame);
  bool got = len == 0 || (owned ? take_payload(link->net, &frame, payload, len) : zmq_msg_init_size(&frame, len) == 0);
  if (owned && (len == 0 || !got)) free(payload);
  if (!got) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a payload of %zu bytes", len);
  if (!owned && len) memcpy(zmq_msg_data(&frame), payload, len);
  tri_buf_clear(&link->envelope);
  tri_status status = TRI_OK;
  size_t most = payload_limit(link, m->kind);
  if (len > most)
    status = tri_status_fail(err, TRI_E_LIMIT, "%s: a payload of %zu bytes, more than %zu", tri_msg_kind_name(m->kind), len, most);
  if (status == TRI_OK) status = tri_codec_encode(m, &link->envelope, err);
  if (status == TRI_OK) status = send_frames(link, to, &frame, err);
  zmq_msg_close(&frame);
  return status;
}

/* The next frame of the message at hand. */
static bool receive_frame(tri_link *link, zmq_msg_t *frame) {
  return zmq_msg_recv(frame, link->socket, ZMQ_DONTWAIT) >= 0;
}

/* Who sent it: the key that the handshake proved and the address, which libzmq keeps with the connection. */
static tri_status read_sender(zmq_msg_t *envelope, tri_incoming *in, tri_error *err) {
  const char *user = zmq_msg_gets(envelope, "User-Id"), *address = zmq_msg_gets(envelope, "Peer-Address");
  if (!user || tri_keys_parse(user, in->key) != TRI_OK)
    return tri_status_fail(err, TRI_E_PROTOCOL, "a message of a sender without a proven key");
  const char *mapped = "::ffff:"; /* an IPv4 address as an IPv6 socket shows it */
  if (address && strncmp(address, mapped, strlen(mapped)) == 0) address += strlen(mapped);
  snprintf(in->address, sizeof in->address, "%s", address ? address : "");
  return TRI_OK;
}

static bool peer_address(int fd, struct sockaddr_in6 *out) {
  socklen_t size = sizeof *out;
  memset(out, 0, sizeof *out);
  return getpeername(fd, (struct sockaddr *)out, &size) == 0;
}

/* Note whose connection this is. libzmq keeps the number of its socket with each message; by the time that we read it the
 * connection may have ended and the number be another's, so the address is noted too and compared before anything is done. */
static void note_source(tri_link *link, zmq_msg_t *envelope, const uint8_t key[TRI_KEY_BYTES]) {
  int fd = zmq_msg_get(envelope, ZMQ_SRCFD);
  if (fd < 0 || fd >= MAX_SOURCES) return;
  if ((size_t)fd >= link->n_sources) {
    size_t n = 2 * (size_t)fd + 16;
    source *sources = realloc(link->sources, n * sizeof *sources);
    if (!sources) return;
    memset(sources + link->n_sources, 0, (n - link->n_sources) * sizeof *sources);
    link->sources = sources, link->n_sources = n;
  }
  source *s = &link->sources[fd];
  memcpy(s->key, key, TRI_KEY_BYTES);
  if (!peer_address(fd, &s->address)) s->address.sin6_family = 0;
}

size_t tri_link_cut(tri_link *link, const uint8_t key[TRI_KEY_BYTES]) {
  size_t cut = 0;
  for (size_t i = 0; i < link->n_sources; i++) {
    source *s = &link->sources[i];
    if (!s->address.sin6_family || memcmp(s->key, key, TRI_KEY_BYTES) != 0) continue;
    /* A number of our own for the same connection: libzmq's thread may close its one, and another take the number, at any time. */
    int fd = fcntl((int)i, F_DUPFD_CLOEXEC, 0);
    struct sockaddr_in6 now;
    if (fd >= 0 && peer_address(fd, &now) && memcmp(&now, &s->address, sizeof now) == 0 && shutdown(fd, SHUT_RDWR) == 0) cut++;
    if (fd >= 0) close(fd);
    s->address.sin6_family = 0;
  }
  return cut;
}

static tri_status read_route(tri_link *link, zmq_msg_t *frame, tri_incoming *in, tri_error *err) {
  size_t len = zmq_msg_size(frame);
  bool ok = len > 0 && len <= sizeof in->from.route && zmq_msg_more(frame);
  if (ok) {
    memcpy(in->from.route, zmq_msg_data(frame), len);
    in->from.route_len = (uint8_t)len;
    ok = receive_frame(link, frame);
  }
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_PROTOCOL, "a message with a route that is not ours");
}

static tri_status read_message(tri_link *link, zmq_msg_t *frame, tri_incoming *in, tri_msg *m, tri_error *err) {
  tri_status status = is_routed(link) ? read_route(link, frame, in, err) : TRI_OK;
  if (status == TRI_OK && link->listening) status = read_sender(frame, in, err);
  if (status == TRI_OK && is_routed(link)) note_source(link, frame, in->key);
  if (status == TRI_OK) status = tri_codec_decode(zmq_msg_data(frame), zmq_msg_size(frame), m, err);
  if (status != TRI_OK || !zmq_msg_more(frame)) return status;
  if (!receive_frame(link, &link->payload) || zmq_msg_more(&link->payload))
    return tri_status_fail(err, TRI_E_PROTOCOL, "%s: more than two frames", tri_msg_kind_name(m->kind));
  size_t len = zmq_msg_size(&link->payload), most = payload_limit(link, m->kind);
  if (len > most)
    return tri_status_fail(err, TRI_E_PROTOCOL, "%s: a payload of %zu bytes, more than %zu", tri_msg_kind_name(m->kind), len, most);
  if (len) in->payload = zmq_msg_data(&link->payload), in->payload_len = len;
  return TRI_OK;
}

static bool has_more(void *socket) {
  int more = 0;
  size_t size = sizeof more;
  return zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0 && more;
}

tri_status tri_link_recv(tri_link *link, tri_incoming *in, tri_msg *m, tri_error *err) {
  zmq_msg_close(&link->payload);
  zmq_msg_init(&link->payload);
  zmq_msg_t frame;
  zmq_msg_init(&frame);
  if (!receive_frame(link, &frame)) {
    int error = zmq_errno();
    zmq_msg_close(&frame);
    if (error == EAGAIN || error == EINTR || error == ENOTSUP) return TRI_E_AGAIN; /* a data link goes one way */
    return tri_status_fail(err, TRI_E_INTERNAL, "cannot receive: %s", zmq_strerror(error));
  }
  *in = (tri_incoming){0};
  tri_status status = read_message(link, &frame, in, m, err);
  while (has_more(link->socket) && receive_frame(link, &frame)) continue; /* what is left of a bad one */
  zmq_msg_close(&frame);
  if (status != TRI_OK) in->payload = NULL, in->payload_len = 0;
  return status;
}

size_t tri_net_unsent_bytes(const tri_net *net) { return atomic_load(&net->unsent); }

uint64_t tri_link_sent_bytes(const tri_link *link) { return link->sent_bytes; }
