/* SPDX-License-Identifier: MIT */
/* What the lab's test runs inside of nodes: plain sockets, time and memory, and nothing of Trireme. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 5000, CHUNK = 65536, PINGS = 9 };

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *what) { return perror(what), 1; }

/* Sends back a byte for each part that it got; says so once it listens. */
static int echo(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  char *bytes = malloc(CHUNK);
  int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (!bytes || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 4) != 0) return fail("listen");
  puts("listening"), fflush(stdout);
  for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    while (read(fd, bytes, CHUNK) > 0)
      if (write(fd, "", 1) != 1) break;
  }
  return fail("accept");
}

static int dial(const char *address) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  struct timeval limit = {.tv_usec = 500000};
  int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  inet_pton(AF_INET, address, &to.sin_addr);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
  close(fd);
  return -1;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The median round trip in milliseconds. */
static int ping(const char *address) {
  double ms[PINGS];
  char byte;
  int fd = dial(address);
  if (fd < 0) return fail("connect");
  for (int i = 0; i < PINGS; i++) {
    double from = seconds(CLOCK_MONOTONIC);
    if (write(fd, "", 1) != 1 || read(fd, &byte, 1) != 1) return fail("ping");
    ms[i] = (seconds(CLOCK_MONOTONIC) - from) * 1e3;
  }
  qsort(ms, PINGS, sizeof *ms, ascending);
  return printf("%.3f\n", ms[PINGS / 2]) < 0;
}

/* Sends so many bytes and waits until all were taken: Mbit/s. */
static int push(const char *address, size_t bytes) {
  char *data = calloc(1, bytes), got[CHUNK];
  int fd = dial(address);
  if (fd < 0 || !data) return fail("connect");
  double from = seconds(CLOCK_MONOTONIC);
  for (size_t at = 0; at < bytes;) {
    ssize_t n = write(fd, data + at, bytes - at);
    if (n <= 0) return fail("write");
    at += (size_t)n;
  }
  shutdown(fd, SHUT_WR);
  while (read(fd, got, sizeof got) > 0) continue;
  return printf("%.3f\n", (double)bytes * 8 / 1e6 / (seconds(CLOCK_MONOTONIC) - from)) < 0;
}

/* Computes for so long by the clock: percent of a core that it had. */
static int burn(double ms) {
  double from = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID), now;
  while ((now = seconds(CLOCK_MONOTONIC)) < from + ms / 1e3) continue;
  return printf("%.3f\n", 100 * (seconds(CLOCK_PROCESS_CPUTIME_ID) - used) / (now - from)) < 0;
}

static int hold(size_t bytes) {
  volatile char *data = malloc(bytes);
  if (!data) return fail("malloc");
  for (size_t i = 0; i < bytes; i += 4096) data[i] = 1;
  return puts("held") < 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "echo") == 0) return echo();
  if (argc == 3 && strcmp(argv[1], "ping") == 0) return ping(argv[2]);
  if (argc == 4 && strcmp(argv[1], "push") == 0) return push(argv[2], strtoull(argv[3], NULL, 10));
  if (argc == 3 && strcmp(argv[1], "burn") == 0) return burn(atof(argv[2]));
  if (argc == 3 && strcmp(argv[1], "hold") == 0) return hold(strtoull(argv[2], NULL, 10));
  return 2;
}
