/* SPDX-License-Identifier: MIT */
#include "proto/net.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* ZAP, https://rfc.zeromq.org/spec/27: libzmq asks over inproc for each handshake, with these frames. */
enum { ZAP_VERSION, ZAP_REQUEST, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_ROUTE, ZAP_MECHANISM, ZAP_CREDENTIALS, ZAP_FRAMES };
enum { ZAP_FRAME_BYTES = 256 };

typedef struct zap_frame {
  size_t len; /* as sent; bytes beyond the buffer are not kept */
  char bytes[ZAP_FRAME_BYTES];
} zap_frame;

tri_status tri_net_set_options(void *socket, const tri_net_option *options, size_t count, tri_error *err) {
  for (size_t i = 0; i < count; i++)
    if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)) != 0)
      return tri_status_fail(err, TRI_E_INTERNAL, "socket option %d: %s", options[i].name, zmq_strerror(zmq_errno()));
  return TRI_OK;
}

static tri_status open_zap(tri_net *net, tri_error *err) {
  static const tri_net_option options[] = {{ZMQ_LINGER, 0}};
  net->zap = zmq_socket(net->context, ZMQ_REP);
  if (!net->zap || zmq_bind(net->zap, "inproc://zeromq.zap.01") != 0)
    return tri_status_fail(err, TRI_E_INTERNAL, "cannot open the handshakes' socket: %s", zmq_strerror(zmq_errno()));
  return tri_net_set_options(net->zap, options, sizeof options / sizeof options[0], err);
}

tri_status tri_net_create(tri_net **out, const tri_keypair *self, tri_net_allow_fn *allow, void *arg, tri_error *err) {
  if (!zmq_has("curve")) return tri_status_fail(err, TRI_E_UNSUPPORTED, "this libzmq was built without CURVE");
  tri_net *net = calloc(1, sizeof *net);
  if (!net) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the network");
  net->self = *self, net->allow = allow, net->allow_arg = arg, net->payload_limit = TRI_MAX_PAYLOAD;
  net->context = zmq_ctx_new();
  tri_status status = net->context ? open_zap(net, err) : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the network");
  if (status != TRI_OK) tri_net_destroy(&net);
  else *out = net;
  return status;
}

void tri_net_destroy(tri_net **net) {
  tri_net *n = *net;
  if (!n) return;
  if (n->zap) zmq_close(n->zap);
  if (n->context)
    while (zmq_ctx_term(n->context) != 0 && zmq_errno() == EINTR) continue;
  tri_keys_wipe(&n->self);
  free(n);
  *net = NULL;
}

void tri_net_limit_payload(tri_net *net, size_t bytes) {
  net->payload_limit = bytes < TRI_MAX_PAYLOAD ? bytes : TRI_MAX_PAYLOAD;
}

/* The frames of one request; how many came is returned, and all of them are taken. 0: none waits. */
static size_t receive_request(void *zap, zap_frame frames[ZAP_FRAMES]) {
  size_t n = 0;
  for (int more = 1; more; n++) {
    zap_frame spare, *f = n < ZAP_FRAMES ? &frames[n] : &spare;
    int len = zmq_recv(zap, f->bytes, sizeof f->bytes, ZMQ_DONTWAIT);
    if (len < 0) return 0;
    f->len = (size_t)len;
    size_t size = sizeof more;
    if (zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &size) != 0) return 0;
  }
  return n;
}

static bool frame_is(const zap_frame *f, const char *text) {
  return f->len == strlen(text) && memcmp(f->bytes, text, f->len) == 0;
}

static bool is_allowed(const tri_net *net, zap_frame frames[ZAP_FRAMES], size_t n) {
  if (n != ZAP_FRAMES || !frame_is(&frames[ZAP_VERSION], "1.0") || !frame_is(&frames[ZAP_MECHANISM], "CURVE")) return false;
  if (frames[ZAP_CREDENTIALS].len != TRI_KEY_BYTES) return false;
  for (size_t i = ZAP_DOMAIN; i <= ZAP_ADDRESS; i++) {
    if (frames[i].len >= ZAP_FRAME_BYTES) return false;
    frames[i].bytes[frames[i].len] = 0;
  }
  return net->allow && net->allow(net->allow_arg, frames[ZAP_DOMAIN].bytes, (const uint8_t *)frames[ZAP_CREDENTIALS].bytes,
                                  frames[ZAP_ADDRESS].bytes);
}

/* The user id is the proven key as text: libzmq attaches it to every message of the connection. */
static void reply(void *zap, const zap_frame *request, bool ok, const uint8_t *key) {
  char user[TRI_KEY_TEXT] = "";
  if (ok) tri_keys_text(key, user);
  size_t id_len = request->len < sizeof request->bytes ? request->len : sizeof request->bytes;
  const struct { const void *bytes; size_t len; } frames[] = {
      {"1.0", 3}, {request->bytes, id_len}, {ok ? "200" : "400", 3}, {ok ? "OK" : "not allowed", ok ? 2 : 11},
      {user, strlen(user)}, {"", 0}};
  const size_t n = sizeof frames / sizeof frames[0];
  for (size_t i = 0; i < n; i++) /* never blocks: a requester that has gone drops it */
    zmq_send(zap, frames[i].bytes, frames[i].len, ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0));
}

void tri_net_serve(tri_net *net) {
  zap_frame frames[ZAP_FRAMES];
  for (size_t n; (n = receive_request(net->zap, frames)) > 0;) {
    if (n <= ZAP_REQUEST) frames[ZAP_REQUEST].len = 0;
    reply(net->zap, &frames[ZAP_REQUEST], is_allowed(net, frames, n), (const uint8_t *)frames[ZAP_CREDENTIALS].bytes);
  }
}
