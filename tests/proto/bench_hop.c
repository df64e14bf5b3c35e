/* SPDX-License-Identifier: MIT */
/* What a hop between two stages costs on the loopback: a step with a row (2640 bytes: INT8, d 2560) goes to another process and
 * comes back, through links as workers use them (CURVE, the loop, the codec), and the same bytes through bare TCP. Prints medians
 * of half a round trip. Not a test: bin/bench_hop [rounds [bytes]] */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "proto/loop.h"

enum { MOST_BYTES = 1 << 20, WARM_UP = 200 };

static int rounds = 20000;
static size_t payload = 2640;
static int64_t *times_ns;
static tri_error err;

#define MUST(call)                                                                                           \
  do {                                                                                                       \
    if ((call) != TRI_OK) fprintf(stderr, "%s: %s\n", #call, err.text), exit(1);                             \
  } while (0)

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}
static void report(const char *what) {
  qsort(times_ns, (size_t)rounds, sizeof *times_ns, compare);
  printf("%-8s one way: median %.1f us, 10%% %.1f us, 90%% %.1f us\n", what, (double)times_ns[rounds / 2] / 2000,
         (double)times_ns[rounds / 10] / 2000, (double)times_ns[rounds * 9 / 10] / 2000);
  fflush(stdout); /* before the next fork */
}

/* ---- Links ---- */

static struct {
  tri_net *net;
  tri_loop *loop;
  tri_link *in, *out;
  tri_msg step;
  uint8_t rows[MOST_BYTES];
  bool echo, waiting; /* waiting for `out` to be up before the next step goes */
  int done;
  int64_t start_ns;
} self;

static bool allow_all(void *arg, const char *domain, const uint8_t *key, const char *address) {
  (void)arg, (void)domain, (void)key, (void)address;
  return true;
}
static void send_step(void) {
  self.waiting = tri_link_get_state(self.out) != TRI_LINK_UP;
  if (self.waiting) return;
  self.start_ns = tri_clock_ns();
  MUST(tri_link_send(self.out, NULL, &self.step, self.rows, payload, false, &err));
}
static void on_out(void *arg) {
  (void)arg;
  if (self.waiting) send_step();
}
static void on_in(void *arg) {
  (void)arg;
  tri_incoming in;
  static tri_msg m;
  while (tri_link_recv(self.in, &in, &m, &err) == TRI_OK) {
    if (!self.echo && self.done >= WARM_UP) times_ns[self.done - WARM_UP] = tri_clock_ns() - self.start_ns;
    memcpy(self.rows, in.payload, in.payload_len);
    if (++self.done == rounds + WARM_UP && !self.echo) tri_loop_stop(self.loop);
    else send_step();
  }
}

static void run_links(const tri_keypair *mine, const tri_keypair *other, bool echo, int read_fd, int write_fd) {
  uint16_t port, peer_port;
  char endpoint[TRI_MAX_ENDPOINT];
  self.echo = echo, self.waiting = !echo;
  self.step = (tri_msg){.kind = TRI_MSG_STEP,
                        .step = {.n_runs = 1, .n_rows = 1, .runs[0] = {.count = 1, .want = TRI_WANT_SAMPLE, .next = -1}}};
  MUST(tri_net_create(&self.net, mine, allow_all, NULL, &err));
  MUST(tri_loop_create(&self.loop, self.net, &err));
  MUST(tri_link_listen(&self.in, self.net, TRI_LINK_DATA, "tcp://127.0.0.1:0", "data", &port, &err));
  if (write(write_fd, &port, sizeof port) != sizeof port || read(read_fd, &peer_port, sizeof peer_port) != sizeof peer_port) exit(1);
  tri_link_endpoint(endpoint, "127.0.0.1", peer_port);
  MUST(tri_link_dial(&self.out, self.net, TRI_LINK_DATA, endpoint, other->public_key, &err));
  MUST(tri_loop_add_link(self.loop, self.in, on_in, NULL, &err));
  MUST(tri_loop_add_link(self.loop, self.out, on_out, NULL, &err));
  tri_status status = tri_loop_run(self.loop, 60000, &err); /* the echo is ended from outside */
  if (status != TRI_OK && !echo) fprintf(stderr, "links: %s\n", tri_status_name(status)), exit(1);
  tri_link_close(&self.in);
  tri_link_close(&self.out);
  tri_loop_destroy(&self.loop);
  tri_net_destroy(&self.net);
}

static void bench_links(void) {
  tri_keypair a, b;
  int there[2], back[2];
  MUST(tri_keys_generate(&a, "a", &err));
  MUST(tri_keys_generate(&b, "b", &err));
  if (pipe(there) != 0 || pipe(back) != 0) exit(1);
  pid_t child = fork();
  if (child == 0) run_links(&b, &a, true, there[0], back[1]), _exit(0);
  run_links(&a, &b, false, back[0], there[1]);
  kill(child, SIGTERM);
  waitpid(child, NULL, 0);
  report("links");
}

/* ---- Bare TCP ---- */

static bool move(int fd, uint8_t *bytes, bool out) {
  for (size_t at = 0; at < payload;) {
    ssize_t n = out ? send(fd, bytes + at, payload - at, MSG_NOSIGNAL) : recv(fd, bytes + at, payload - at, 0);
    if (n <= 0 && errno != EINTR) return false;
    if (n > 0) at += (size_t)n;
  }
  return true;
}

static void bench_tcp(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
  static uint8_t bytes[MOST_BYTES];
  if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &len) != 0 || connect(fd, (struct sockaddr *)&address, len) != 0)
    exit(1);
  int other = accept(listener, NULL, NULL);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(other, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  pid_t child = fork();
  if (child == 0) {
    close(fd);
    while (move(other, bytes, false) && move(other, bytes, true)) continue;
    _exit(0);
  }
  close(other);
  for (int i = -WARM_UP; i < rounds; i++) {
    int64_t start = tri_clock_ns();
    if (!move(fd, bytes, true) || !move(fd, bytes, false)) exit(1);
    if (i >= 0) times_ns[i] = tri_clock_ns() - start;
  }
  close(fd);
  close(listener);
  waitpid(child, NULL, 0);
  report("tcp");
}

int main(int argc, char **argv) {
  if (argc > 1 && (rounds = atoi(argv[1])) < 10) return 2;
  if (argc > 2 && ((payload = strtoul(argv[2], NULL, 10)) < 1 || payload > MOST_BYTES)) return 2;
  times_ns = calloc((size_t)rounds, sizeof *times_ns);
  if (!times_ns) return 1;
  bench_tcp();
  bench_links();
  free(times_ns);
  return 0;
}
