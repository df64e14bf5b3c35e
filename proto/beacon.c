/* SPDX-License-Identifier: MIT */
#include "proto/beacon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "proto/link.h"

enum { VERSION = 1, FAIR = 64, ASK_AGAIN_MS = 500 };
static const char magic[] = "TRIBEACN", group[] = "239.255.71.17";

void tri_beacon_hash(const uint8_t key[TRI_KEY_BYTES], uint8_t out[TRI_BEACON_HASH]) {
  crypto_generichash(out, TRI_BEACON_HASH, key, TRI_KEY_BYTES, NULL, 0);
}

void tri_beacon_encode(const tri_beacon *b, uint8_t out[TRI_BEACON_BYTES]) {
  memset(out, 0, TRI_BEACON_BYTES);
  memcpy(out, magic, 8);
  out[8] = VERSION, out[9] = b->answer, out[10] = (uint8_t)b->port, out[11] = (uint8_t)(b->port >> 8);
  memcpy(out + 12, b->nonce, TRI_BEACON_NONCE);
  memcpy(out + 20, b->hash, TRI_BEACON_HASH);
}

tri_status tri_beacon_decode(tri_beacon *out, const uint8_t *bytes, size_t len) {
  static const uint8_t zeros[TRI_BEACON_BYTES - 36];
  tri_cursor c = tri_cursor_over(bytes, len);
  tri_beacon b = {0};
  const uint8_t *name = tri_cursor_take(&c, 8);
  uint8_t version = tri_cursor_u8(&c), kind = tri_cursor_u8(&c);
  b.answer = kind == 1, b.port = tri_cursor_u16(&c);
  tri_cursor_copy(&c, b.nonce, sizeof b.nonce);
  tri_cursor_copy(&c, b.hash, sizeof b.hash);
  const uint8_t *rest = tri_cursor_take(&c, sizeof zeros);
  if (!rest || tri_cursor_left(&c) || memcmp(name, magic, 8) != 0 || version != VERSION || kind > 1 ||
      memcmp(rest, zeros, sizeof zeros) != 0 || b.answer != (b.port != 0))
    return TRI_E_FORMAT;
  *out = b;
  return TRI_OK;
}

/* fn for each interface (or each loopback) that is up and has an IPv4 address; how many it was true for. */
static int each_interface(bool loopback, bool (*fn)(int fd, const struct ip_mreqn *interface, const void *arg), int fd, const void *arg) {
  struct ifaddrs *all = NULL;
  int n = 0;
  if (getifaddrs(&all) != 0) return 0;
  for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
    if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET || !(a->ifa_flags & IFF_UP)) continue;
    if (loopback && !(a->ifa_flags & IFF_LOOPBACK)) continue;
    struct ip_mreqn interface = {.imr_ifindex = (int)if_nametoindex(a->ifa_name),
                                 .imr_address = ((const struct sockaddr_in *)a->ifa_addr)->sin_addr};
    inet_pton(AF_INET, group, &interface.imr_multiaddr);
    n += fn(fd, &interface, arg);
  }
  freeifaddrs(all);
  return n;
}

static struct sockaddr_in group_address(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(TRI_BEACON_PORT)};
  inet_pton(AF_INET, group, &to.sin_addr);
  return to;
}

/* --- the coordinator's side --- */

static bool join_group(int fd, const struct ip_mreqn *interface, const void *arg) {
  (void)arg;
  return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, interface, sizeof *interface) == 0 || errno == EADDRINUSE;
}

tri_status tri_beacon_listen(int *fd, bool loopback, tri_error *err) {
  int yes = 1, no = 0, s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  /* Bound to the group, so that a datagram to this machine alone, from who knows where, gets no answer; and shared, as there may be
   * several coordinators on a machine. */
  struct sockaddr_in to = group_address();
  bool ok = s >= 0 && setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
            setsockopt(s, IPPROTO_IP, IP_MULTICAST_ALL, &no, sizeof no) == 0 && /* not what others on this machine have joined */
            bind(s, (struct sockaddr *)&to, sizeof to) == 0 && each_interface(loopback, join_group, s, NULL) > 0;
  if (!ok) {
    tri_status_fail(err, TRI_E_IO, "cannot hear questions to %s: %s", group, strerror(errno));
    if (s >= 0) close(s);
    return TRI_E_IO;
  }
  *fd = s;
  return TRI_OK;
}

void tri_beacon_answer(int fd, const uint8_t key[TRI_KEY_BYTES], uint16_t port, tri_throttle *t, int64_t now_ms) {
  static const uint8_t anyone[TRI_BEACON_HASH];
  uint8_t bytes[TRI_BEACON_BYTES + 1], hash[TRI_BEACON_HASH];
  tri_beacon_hash(key, hash);
  for (int i = 0; i < FAIR; i++) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    char address[INET_ADDRSTRLEN];
    tri_beacon b;
    ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size);
    if (n < 0) return;
    if (tri_beacon_decode(&b, bytes, (size_t)n) != TRI_OK || b.answer) continue;
    if (memcmp(b.hash, hash, sizeof hash) != 0 && memcmp(b.hash, anyone, sizeof anyone) != 0) continue;
    if (!inet_ntop(AF_INET, &from.sin_addr, address, sizeof address) || !tri_throttle_take(t, address, now_ms)) continue;
    b.answer = true, b.port = port;
    memcpy(b.hash, hash, sizeof hash);
    tri_beacon_encode(&b, bytes);
    sendto(fd, bytes, TRI_BEACON_BYTES, 0, (struct sockaddr *)&from, size); /* one that is lost is asked for again */
  }
}

/* --- the asker's side --- */

tri_status tri_beacon_open(tri_beacon_asker *a, const uint8_t *key, tri_error *err) {
  if (sodium_init() < 0) return tri_status_fail(err, TRI_E_INTERNAL, "libsodium found no source of random numbers");
  int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (s < 0) return tri_status_fail(err, TRI_E_IO, "cannot ask for a coordinator: %s", strerror(errno));
  *a = (tri_beacon_asker){.fd = s};
  randombytes_buf(a->question.nonce, sizeof a->question.nonce);
  if (key) tri_beacon_hash(key, a->question.hash);
  return TRI_OK;
}

void tri_beacon_close(tri_beacon_asker *a) {
  if (a->fd >= 0) close(a->fd);
  a->fd = -1;
}

static bool send_question(int fd, const struct ip_mreqn *interface, const void *bytes) {
  struct sockaddr_in to = group_address();
  return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, interface, sizeof *interface) == 0 &&
         sendto(fd, bytes, TRI_BEACON_BYTES, 0, (struct sockaddr *)&to, sizeof to) == TRI_BEACON_BYTES;
}

tri_status tri_beacon_ask(tri_beacon_asker *a, tri_error *err) {
  uint8_t bytes[TRI_BEACON_BYTES];
  tri_beacon_encode(&a->question, bytes);
  if (each_interface(false, send_question, a->fd, bytes) > 0) return TRI_OK;
  return tri_status_fail(err, TRI_E_IO, "no interface takes multicast: %s", strerror(errno));
}

tri_status tri_beacon_next(tri_beacon_asker *a, tri_beacon *out, char endpoint[TRI_MAX_ENDPOINT]) {
  static const uint8_t anyone[TRI_BEACON_HASH];
  uint8_t bytes[TRI_BEACON_BYTES + 1];
  for (int i = 0; i < FAIR; i++) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    char address[INET_ADDRSTRLEN];
    tri_beacon b;
    ssize_t n = recvfrom(a->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size);
    if (n < 0) return TRI_E_AGAIN;
    if (tri_beacon_decode(&b, bytes, (size_t)n) != TRI_OK || !b.answer || memcmp(b.nonce, a->question.nonce, sizeof b.nonce) != 0) continue;
    if (memcmp(a->question.hash, anyone, sizeof anyone) != 0 && memcmp(a->question.hash, b.hash, sizeof b.hash) != 0) continue;
    if (!inet_ntop(AF_INET, &from.sin_addr, address, sizeof address)) continue;
    tri_link_endpoint(endpoint, address, b.port);
    *out = b;
    return TRI_OK;
  }
  return TRI_E_AGAIN;
}

tri_status tri_beacon_find(const uint8_t key[TRI_KEY_BYTES], int64_t timeout_ms, char endpoint[TRI_MAX_ENDPOINT], tri_error *err) {
  tri_beacon_asker a;
  tri_beacon b;
  tri_status status = tri_beacon_open(&a, key, err);
  int64_t until = tri_clock_ms() + timeout_ms;
  if (status != TRI_OK) return status;
  status = TRI_E_NOT_FOUND;
  while (status == TRI_E_NOT_FOUND && tri_clock_ms() < until) {
    tri_error why;
    struct pollfd p = {.fd = a.fd, .events = POLLIN};
    bool asked = tri_beacon_ask(&a, &why) == TRI_OK;
    if (!asked) break;
    int64_t left = until - tri_clock_ms();
    if (poll(&p, 1, (int)(left < ASK_AGAIN_MS ? left > 0 ? left : 0 : ASK_AGAIN_MS)) == 1 && tri_beacon_next(&a, &b, endpoint) == TRI_OK)
      status = TRI_OK;
  }
  tri_beacon_close(&a);
  return status == TRI_OK ? TRI_OK : tri_status_fail(err, status, "no coordinator with the trusted key answers on this network");
}
