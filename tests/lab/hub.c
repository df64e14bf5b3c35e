/* SPDX-License-Identifier: MIT */
#include "tests/lab/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BRIDGE "br_lab" /* no node's name has an underscore */

/* Run `ip` or `tc` in a namespace (-1: our own). The words are split at blanks. */
static tri_status run(int ns_fd, tri_error *err, const char *fmt, ...) TRI_PRINTF(3, 4);
static tri_status run(int ns_fd, tri_error *err, const char *fmt, ...) {
  enum { WORDS = 24, LINE = 256 };
  char line[LINE], words[LINE], said[LINE] = "", *argv[WORDS + 1], *rest = words;
  int fds[2], status = -1, n = 0;
  va_list args;
  va_start(args, fmt);
  vsnprintf(line, sizeof line, fmt, args);
  va_end(args);
  strcpy(words, line);
  for (char *word; n < WORDS && (word = strsep(&rest, " "));) argv[n++] = word;
  argv[n] = NULL;
  if (pipe2(fds, O_CLOEXEC) != 0) return tri_status_fail(err, TRI_E_IO, "cannot make a pipe: %s", strerror(errno));
  pid_t pid = fork();
  if (pid == 0) {
    if (ns_fd >= 0 && setns(ns_fd, CLONE_NEWNET) != 0) _exit(126);
    dup2(fds[1], STDOUT_FILENO), dup2(fds[1], STDERR_FILENO);
    execvp(argv[0], argv);
    _exit(127);
  }
  close(fds[1]);
  for (ssize_t got, len = 0; (got = read(fds[0], said + len, sizeof said - 1 - (size_t)len)) > 0;) len += got;
  close(fds[0]);
  said[strcspn(said, "\n")] = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) return tri_status_fail(err, TRI_E_IO, "'%s' failed: %s", line, said);
  return TRI_OK;
}

tri_status lab_hub_shape(int ns_fd, const char *link, int64_t rate, tri_error *err) {
  /* A bucket of a quarter of a millisecond: timers that are late by less lose nothing of the rate. What fits into it goes at once, so
   * a single row's time on the wire is not felt beyond that. A queue of 50 ms, as a switch's. */
  enum { PER_S = 4000, LEAST_BYTES = 1600, MOST_GSO = 65536, QUEUE_MS = 50 };
  int64_t bucket = rate / 8 / PER_S, gso = bucket / 2;
  if (rate == 0) return TRI_OK;
  if (bucket < LEAST_BYTES) bucket = LEAST_BYTES;
  gso = gso < LEAST_BYTES ? LEAST_BYTES : gso > MOST_GSO ? MOST_GSO : gso;
  tri_status status = run(ns_fd, err, "tc qdisc replace dev %s root tbf rate %lldbit burst %lld latency %dms", link, (long long)rate,
                          (long long)bucket, QUEUE_MS);
  /* Pieces that fit into the bucket: larger ones would be cut into single packets by software, which costs a core at a gigabit. */
  return status == TRI_OK ? run(ns_fd, err, "ip link set dev %s gso_max_size %lld", link, (long long)gso) : status;
}

/* A TAP device in the calling process' namespace. */
static int open_tap(const char *name) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) != 0) close(fd), fd = -1;
  return fd;
}

static tri_status add_relay(int hub_fd, int ns_fd, const lab_node *n, tri_error *err) {
  int inner = -1, outer = open_tap(n->name);
  if (setns(ns_fd, CLONE_NEWNET) == 0) inner = open_tap("eth0");
  if (setns(hub_fd, CLONE_NEWNET) != 0 || inner < 0 || outer < 0)
    return tri_status_fail(err, TRI_E_IO, "cannot make TAP devices for %s: %s", n->name, strerror(errno));
  pid_t pid = fork();
  if (pid == 0) lab_relay(inner, outer, n->delay_ms);
  close(inner), close(outer);
  return pid > 0 ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "cannot start a relay: %s", strerror(errno));
}

static tri_status add_node(int hub_fd, int i, const lab_node *n, tri_error *err) {
  int ns = LAB_FIRST_FD + i;
  char address[16];
  lab_topology_address(i, address);
  tri_status status = n->delay_ms > 0 ? add_relay(hub_fd, ns, n, err)
                                      : run(-1, err, "ip link add %s type veth peer name eth0 netns /proc/self/fd/%d", n->name, ns);
  if (status == TRI_OK) status = run(-1, err, "ip link set %s master " BRIDGE " addrgenmode none up", n->name);
  if (status == TRI_OK) status = run(ns, err, "ip addr add %s/24 dev eth0", address);
  if (status == TRI_OK) status = run(ns, err, "ip link set eth0 addrgenmode none up");
  if (status == TRI_OK) status = run(ns, err, "ip link set lo up");
  if (status == TRI_OK) status = lab_hub_shape(-1, n->name, n->rate, err);
  return status == TRI_OK ? lab_hub_shape(ns, "eth0", n->rate, err) : status;
}

tri_status lab_hub_build(const lab_topology *t, tri_error *err) {
  int hub_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (hub_fd < 0) return tri_status_fail(err, TRI_E_IO, "cannot open /proc/self/ns/net: %s", strerror(errno));
  for (int i = 0; i < t->count; i++) {
    int fd = unshare(CLONE_NEWNET) == 0 ? open("/proc/self/ns/net", O_RDONLY) : -1;
    /* Not closed on exec: `ip` is told of it by its number. */
    if (fd < 0 || dup2(fd, LAB_FIRST_FD + i) < 0 || close(fd) != 0)
      return tri_status_fail(err, TRI_E_IO, "cannot make a network namespace: %s", strerror(errno));
  }
  if (setns(hub_fd, CLONE_NEWNET) != 0) return tri_status_fail(err, TRI_E_IO, "cannot go back to the hub: %s", strerror(errno));
  tri_status status = run(-1, err, "ip link add " BRIDGE " type bridge");
  if (status == TRI_OK) status = run(-1, err, "ip link set " BRIDGE " addrgenmode none up");
  for (int i = 0; i < t->count && status == TRI_OK; i++) status = add_node(hub_fd, i, &t->nodes[i], err);
  close(hub_fd);
  return status;
}

tri_status lab_hub_plug(const char *node, bool in, tri_error *err) {
  return run(-1, err, "ip link set %s %s", node, in ? "up" : "down");
}

lab_traffic lab_hub_read(const char *node) {
  lab_traffic out = {0};
  struct ifreq request = {0};
  char line[512], name[64];
  FILE *f = fopen("/proc/thread-self/net/dev", "re");
  /* receive: bytes packets errs drop fifo frame compressed multicast, then transmit: bytes */
  for (long long in, sent; f && fgets(line, sizeof line, f);)
    if (sscanf(line, " %63[^:]: %lld %*d %*d %*d %*d %*d %*d %*d %lld", name, &in, &sent) == 3 && strcmp(name, node) == 0)
      out.sent = in, out.received = sent;
  if (f) fclose(f);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", node);
  out.cut = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP);
  if (fd >= 0) close(fd);
  return out;
}
