/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/generate.h"

static const char *model_path, *prompt_option, *kv_name = "f16";
static int64_t threads, context;
static bool as_json, no_bos, no_prompt, special, verbose;
static tri_sampling_args sampling = TRI_SAMPLING_ARGS_DEFAULTS;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file.", 0, 0},
    {"prompt", 'p', TRI_ARG_STRING, &prompt_option, "TEXT", "The text to go on from; - reads standard input.", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads (default: the cores that this process may use).", 1, TRI_POOL_MAX_THREADS},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Context: prompt and answer together, in tokens (default: the model's).", 1, 1 << 20},
    TRI_SAMPLING_ARGS(sampling),
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"special", 0, TRI_ARG_FLAG, &special, NULL, "Read tokens such as <|eot_id|> in the prompt as such.", 0, 0},
    {"no-bos", 0, TRI_ARG_FLAG, &no_bos, NULL, "Do not put the begin-of-text token before the prompt.", 0, 0},
    {"no-prompt", 0, TRI_ARG_FLAG, &no_prompt, NULL, "Print the answer only, not the prompt before it.", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document at the end.", 0, 0},
    {"verbose", 'v', TRI_ARG_FLAG, &verbose, NULL, "Show load time, seed and kernels on standard error.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme run", "Generate text in this process, without a cluster.", "-m FILE -p PROMPT [options]",
    "  trireme run -m models/story-bitnet.gguf -p \"Once upon a time\" -n 100\n"
    "  trireme run -m model.gguf -p - -n 200 -t 4 --temp 0.7 < question.txt\n"
    "  trireme run -m model.gguf -p \"One, two,\" --temp 0 --stop five --logprobs 3 --logit-bias 42-inf\n",
    args, sizeof args / sizeof *args};

typedef struct run {
  tri_generator *generator;
  tri_msg_submit request;
  tri_buf payload;
  tri_ids prompt;
  tri_follow out;
} run;

static tri_status prepare(run *r, tri_error *err) {
  tri_ftype kv;
  if (!model_path) return tri_status_fail(err, TRI_E_INVALID, "a model is needed: -m FILE");
  tri_status status = tri_kv_parse(kv_name, &kv, err);
  if (status == TRI_OK) status = tri_sampling_resolve(&sampling, &r->request, &r->payload, err);
  if (status == TRI_OK) status = tri_sampling_prompt(prompt_option, &r->payload, err);
  r->request.special = special, r->request.no_bos = no_bos;
  if (status != TRI_OK) return status;
  int64_t start = tri_clock_ms();
  tri_single_options o = {.threads = (int)threads, .context = (int32_t)context, .kv_type = kv};
  status = tri_generator_open(&r->generator, model_path, &o, err);
  if (status == TRI_OK && verbose) {
    const tri_single *s = tri_generator_single(r->generator);
    fprintf(stderr, "loaded in %.2f s; %s kernels, %d threads, seed %llu\n", (double)(tri_clock_ms() - start) / 1000, s->kernels->name,
            tri_pool_threads(s->pool), (unsigned long long)r->request.sampling.seed);
  }
  return status;
}

static void report(const run *r) {
  if (as_json) {
    json_t *doc = tri_follow_json(&r->out);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(doc);
    return;
  }
  fputs("\n", stdout), fflush(stdout);
  fputc('\n', stderr);
  tri_follow_summary(&r->out, stderr);
}

int tri_cli_run(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  run r = {0};
  r.out.request = &r.request, r.out.payload = &r.payload, r.out.quiet = as_json, r.out.show_prompt = !no_prompt;
  tri_status status = prepare(&r, &err);
  if (status == TRI_OK) status = tri_generator_prompt(r.generator, &r.request, &r.payload, &r.prompt, &err);
  if (status == TRI_OK) status = tri_generator_answer(r.generator, &r.prompt, -1, &r.out, &err);
  if (status == TRI_OK) report(&r);
  tri_follow_free(&r.out);
  tri_generator_close(&r.generator);
  tri_ids_free(&r.prompt);
  tri_buf_free(&r.payload);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
