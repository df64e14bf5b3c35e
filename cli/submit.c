/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/interrupt.h"

static const char *coordinator, *key_dir, *prompt_option, *idempotency = "";
static int64_t timeout_s = 5, priority, deadline_s;
static bool as_json, follow, detach, special, no_bos, no_prompt, verbose;
static tri_sampling_args sampling = TRI_SAMPLING_ARGS_DEFAULTS;
static const tri_arg args[] = {
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "The coordinator, tcp://HOST:PORT (default: as coordinator.key says).",
     0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder, with coordinator.key in it (default ~/.config/trireme/client).", 0, 0},
    {"prompt", 'p', TRI_ARG_STRING, &prompt_option, "TEXT", "The text to go on from; - reads standard input.", 0, 0},
    {"follow", 'f', TRI_ARG_FLAG, &follow, NULL, "Show the text as it comes (this is what happens anyway).", 0, 0},
    {"detach", 0, TRI_ARG_FLAG, &detach, NULL, "Print the job's number and end; the job goes on without us (`trireme follow`, `trireme result`).", 0, 0},
    {"idempotency", 0, TRI_ARG_STRING, &idempotency, "KEY",
     "If this client submitted a job with the same key before, show that one: so a command can be repeated.", 0, 0},
    {"priority", 0, TRI_ARG_INT, &priority, "N", "Jobs of a higher priority go first, from -10 to 10 (default 0).", -TRI_MAX_PRIORITY,
     TRI_MAX_PRIORITY},
    {"deadline", 0, TRI_ARG_INT, &deadline_s, "SECONDS", "End the job after so long, wherever it stands (default: never).", 1, 86400},
    TRI_SAMPLING_ARGS(sampling),
    {"special", 0, TRI_ARG_FLAG, &special, NULL, "Read tokens such as <|eot_id|> in the prompt as such.", 0, 0},
    {"no-bos", 0, TRI_ARG_FLAG, &no_bos, NULL, "Do not put the begin-of-text token before the prompt.", 0, 0},
    {"no-prompt", 0, TRI_ARG_FLAG, &no_prompt, NULL, "Print the answer only, not the prompt before it.", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Give up if the coordinator cannot be reached for so long (default 5).", 1, 3600},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document at the end.", 0, 0},
    {"verbose", 'v', TRI_ARG_FLAG, &verbose, NULL, "Show the seed on standard error.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme submit", "Give a prompt to a running cluster.", "-p PROMPT [--coordinator tcp://HOST:PORT] [--key DIR] [options]",
    "  trireme submit -p \"Once upon a time\" -n 100\n"
    "  trireme submit --coordinator tcp://10.0.0.1:7117 --key ~/trireme/me -p \"Once upon a time\" -n 100\n", args,
    sizeof args / sizeof *args};

static tri_status check(tri_error *err) {
  if (follow && detach) return tri_status_fail(err, TRI_E_INVALID, "--follow and --detach exclude each other");
  return TRI_OK;
}

static tri_status set_idempotency(tri_msg_submit *request, tri_error *err) {
  if (strlen(idempotency) >= TRI_MAX_IDEMPOTENCY)
    return tri_status_fail(err, TRI_E_INVALID, "--idempotency: at most %d bytes are possible", TRI_MAX_IDEMPOTENCY - 1);
  strcpy(request->idempotency, idempotency);
  return TRI_OK;
}

static void report(const tri_follow *f) {
  if (as_json) {
    json_t *doc = tri_follow_json(f);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(doc);
  } else if (detach) {
    printf("job %llu\n", (unsigned long long)f->job);
  } else {
    fputc('\n', stderr);
    tri_follow_summary(f, stderr);
  }
}

int tri_cli_submit(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_client *client = NULL;
  tri_interrupt interrupt = TRI_INTERRUPT_NONE;
  tri_buf payload = {0};
  tri_msg_submit request;
  tri_follow f = {.request = &request, .payload = &payload, .quiet = as_json, .show_prompt = !no_prompt && !detach};
  tri_status status = check(&err);
  if (status == TRI_OK) status = tri_sampling_resolve(&sampling, &request, &payload, &err);
  if (status == TRI_OK) status = tri_sampling_prompt(prompt_option, &payload, &err);
  if (status == TRI_OK) request.special = special, request.no_bos = no_bos, request.detach = detach;
  if (status == TRI_OK) status = set_idempotency(&request, &err);
  request.priority = (int32_t)priority, request.deadline_ms = (uint32_t)deadline_s * 1000;
  if (status == TRI_OK && verbose) fprintf(stderr, "seed %llu\n", (unsigned long long)request.sampling.seed);
  if (status == TRI_OK) status = tri_interrupt_begin(&interrupt, &err); /* after the prompt, which standard input may keep us waiting for */
  if (status == TRI_OK) status = tri_client_dial(&client, coordinator, key_dir, interrupt.fd, timeout_s * 1000, &err);
  if (status == TRI_OK) status = tri_follow_job(client, &f, &err);
  if (status == TRI_OK) report(&f);
  tri_client_close(&client);
  tri_interrupt_end(&interrupt);
  tri_follow_free(&f);
  tri_buf_free(&payload);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
