/* SPDX-License-Identifier: MIT */
#include "cli/lines.h"

#include <editline/readline.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is read stays here between calls: libedit has one state for the process anyway, as standard input is one. */
static struct {
  char *edited; /* libedit's line, once it is whole */
  bool done;
  uint8_t bytes[4096];
  size_t at, n;
} state;

bool tri_lines_are_edited(void) { return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO); }

/* True: standard input is readable. */
static tri_status wait_for(int interrupt_fd, bool *readable, tri_error *err) {
  struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = interrupt_fd, .events = POLLIN}};
  while (poll(fds, 2, -1) < 0)
    if (errno != EINTR) return tri_status_fail(err, TRI_E_IO, "cannot wait for input: %s", strerror(errno));
  *readable = !fds[1].revents;
  return TRI_OK;
}

/* --- on a terminal --- */

static void take_edited(char *line) {
  state.edited = line, state.done = true;
  rl_callback_handler_remove();
}

static tri_status edit(const char *prompt, int interrupt_fd, tri_buf *line, tri_lines_event *event, tri_error *err) {
  setlocale(LC_CTYPE, "");
  if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
  state.done = false;
  rl_callback_handler_install(prompt, take_edited);
  while (!state.done) {
    bool readable = false;
    tri_status status = wait_for(interrupt_fd, &readable, err);
    if (status != TRI_OK || !readable) {
      rl_callback_handler_remove();
      return *event = TRI_LINES_INTERRUPT, status;
    }
    rl_callback_read_char();
  }
  *event = state.edited ? TRI_LINES_LINE : TRI_LINES_END;
  if (!state.edited) return TRI_OK;
  if (*state.edited) add_history(state.edited);
  tri_buf_append(line, state.edited, strlen(state.edited));
  free(state.edited);
  state.edited = NULL;
  return TRI_OK;
}

/* --- from a file or a pipe --- */

static tri_status refill(tri_error *err) {
  ssize_t n = read(STDIN_FILENO, state.bytes, sizeof state.bytes);
  if (n < 0) return tri_status_fail(err, TRI_E_IO, "cannot read standard input: %s", strerror(errno));
  state.at = 0, state.n = (size_t)n;
  return TRI_OK;
}

static tri_status read_plainly(int interrupt_fd, tri_buf *line, tri_lines_event *event, tri_error *err) {
  for (;;) {
    const uint8_t *left = state.bytes + state.at, *end = memchr(left, '\n', state.n - state.at);
    size_t n = end ? (size_t)(end - left) : state.n - state.at;
    if (line->len + n > TRI_LINES_BYTES) return tri_status_fail(err, TRI_E_LIMIT, "a line of more than %d bytes", TRI_LINES_BYTES);
    tri_buf_append(line, left, n);
    state.at += n + (end != NULL);
    if (end) return *event = TRI_LINES_LINE, TRI_OK;
    bool readable = false;
    tri_status status = wait_for(interrupt_fd, &readable, err);
    if (status == TRI_OK && !readable) return *event = TRI_LINES_INTERRUPT, TRI_OK;
    if (status == TRI_OK) status = refill(err);
    if (status != TRI_OK) return status;
    if (!state.n) return *event = line->len ? TRI_LINES_LINE : TRI_LINES_END, TRI_OK;
  }
}

tri_status tri_lines_next(const char *prompt, int interrupt_fd, tri_buf *line, tri_lines_event *event, tri_error *err) {
  tri_buf_clear(line);
  tri_status status = tri_lines_are_edited() ? edit(prompt, interrupt_fd, line, event, err) : read_plainly(interrupt_fd, line, event, err);
  return status == TRI_OK && !tri_buf_ok(line) ? tri_status_fail(err, TRI_E_NOMEM, "out of memory for a line") : status;
}
