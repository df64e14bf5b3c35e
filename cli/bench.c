/* SPDX-License-Identifier: MIT */
#include "cli/bench.h"
#include "cli/cluster.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "base/clock.h"

static const char *model_path, *prompts, *thread_list, *batch_list, *kv_name = "f16", *text_path, *stream_list = "1,2,4,8,16";
static const char *coordinator, *key_dir, *wire_name = "int8", *timeline;
static int64_t decode_tokens = 32, depth, repeats = 3, workers = 3, requests, seconds, seed = 1;
static double rate;
static bool as_json, kernels_only, sampling_only, whole_cluster;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file.", 0, 0},
    {"prompt", 'p', TRI_ARG_STRING, &prompts, "N,N", "Prompt lengths for prefill (default 128,512; with --cluster one, 128).", 0, 0},
    {"predict", 'n', TRI_ARG_INT, &decode_tokens, "N", "Tokens for decode, or of each answer (default 32).", 1, 1 << 16},
    {"depth", 0, TRI_ARG_INT, &depth, "N", "Tokens in the cache before those of decode (default 0).", 0, 1 << 20},
    {"batch", 'b', TRI_ARG_STRING, &batch_list, "N,N",
     "Also decode so many sequences together, and tell what a step costs against one.", 0, 0},
    {"threads", 't', TRI_ARG_STRING, &thread_list, "N,N",
     "Thread counts (default 1); with --cluster those of each worker (default: the cores shared out).", 0, 0},
    {"repeats", 'r', TRI_ARG_INT, &repeats, "N", "Rounds, interleaved; medians are shown (default 3).", 1, 101},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"kernels", 0, TRI_ARG_FLAG, &kernels_only, NULL,
     "Time the ternary products alone: every form, shape (of -m, or of known models) and row count, with the first of -t.", 0, 0},
    {"sampling", 0, TRI_ARG_FLAG, &sampling_only, NULL, "Time drawing a token, with and without a grammar, over 128,256 tokens.", 0, 0},
    {"tokenizer", 0, TRI_ARG_STRING, &text_path, "TEXT", "Time -m's tokenizer alone, on this file and on a dozen awkward texts.", 0, 0},
    {"cluster", 0, TRI_ARG_FLAG, &whole_cluster, NULL,
     "Load a cluster with jobs: one of processes on this machine for -m, or the one of --coordinator or --key.", 0, 0},
    {"workers", 'w', TRI_ARG_INT, &workers, "K", "Its worker processes on this machine (default 3).", 1, TRI_CLUSTER_WORKERS},
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "A running cluster's coordinator, tcp://HOST:PORT.", 0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder for it, with coordinator.key in it (default ~/.config/trireme/client).", 0,
     0},
    {"streams", 0, TRI_ARG_STRING, &stream_list, "N,N", "Jobs under way at any time, one load after the other (default 1,2,4,8,16).", 0, 0},
    {"rate", 0, TRI_ARG_FLOAT, &rate, "JOBS_PER_S", "Instead of streams: jobs come so often, as a Poisson process.", 1e-3, 1e4},
    {"requests", 0, TRI_ARG_INT, &requests, "N", "Jobs of each load (default: as many as come in the time).", 1, 1 << 20},
    {"seconds", 0, TRI_ARG_INT, &seconds, "N",
     "Time for each load, after which jobs are cancelled (default 10; with --requests: no limit).", 1, 86400},
    {"seed", 's', TRI_ARG_INT, &seed, "N", "Of the prompts, answers and arrivals (default 1).", 0, 9e15},
    {"timeline", 0, TRI_ARG_STRING, &timeline, "FILE", "Draw the last load's steps, stage by stage over time, as SVG.", 0, 0},
    {"wire", 0, TRI_ARG_STRING, &wire_name, "TYPE", "Rows between stages: int8, f16 or f32 (default int8).", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {"trireme bench",
                                   "Measure prefill and decode in tokens/s, and decode's weight reads as a share of the machine's own read "
                                   "bandwidth, measured in the same run.",
                                   "-m FILE [options] | --kernels [-m FILE] [options] | --sampling | -m FILE --tokenizer TEXT | "
                                   "--cluster [-m FILE] [options]",
                                   "  trireme bench -m model.gguf -p 128,512 -n 32 -t 1,2\n"
                                   "  trireme bench -m model.gguf -p 128 -b 2,4,8\n"
                                   "  TRIREME_ISA=avx2 trireme bench -m model.gguf --json\n"
                                   "  trireme bench --kernels -t 2\n"
                                   "  trireme bench --sampling\n"
                                   "  trireme bench -m tokenizer.json --tokenizer book.txt\n"
                                   "  trireme bench --cluster -m model.gguf --workers 3 --streams 1,4,16 -p 64 -n 64 --timeline steps.svg\n"
                                   "  trireme bench --cluster --coordinator tcp://10.0.0.1:7117 --key ~/trireme/me --rate 2 --seconds 60\n",
                                   args, sizeof args / sizeof *args};

enum { MAX_LIST = 8, MAX_REPEATS = 101, WARM_TOKENS = 4 };

typedef struct series {
  double values[MAX_REPEATS];
  int n;
} series;

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double median(series *s) {
  qsort(s->values, (size_t)s->n, sizeof *s->values, compare);
  return s->n % 2 ? s->values[s->n / 2] : (s->values[s->n / 2 - 1] + s->values[s->n / 2]) / 2;
}
static void put(series *s, double v) { s->values[s->n++] = v; }

/* --- one thread count --- */

typedef struct result {
  int64_t threads;
  size_t weight_bytes; /* read for each decoded token */
  tri_tune tune;
  double load_s, read_gbs, decode_tps, decode_gbs, prefill_tps[MAX_LIST], batch_ms[MAX_LIST];
} result;

typedef struct lists {
  int64_t prompts[MAX_LIST], threads[MAX_LIST], batches[MAX_LIST];
  int n_prompts, n_threads, n_batches;
} lists;

static double prefill_rate(tri_single *s, const int32_t *tokens, int64_t n, float *logits, tri_error *err) {
  int64_t start = tri_clock_ns();
  if (tri_single_feed(s, 0, 0, tokens, (size_t)n, logits, err) != TRI_OK) return 0;
  return (double)n / ((double)(tri_clock_ns() - start) / 1e9);
}

static double decode_rate(tri_single *s, const int32_t *tokens, float *logits, tri_error *err) {
  int64_t start = 0;
  for (int64_t i = 0; i < WARM_TOKENS + decode_tokens; i++) {
    if (i == WARM_TOKENS) start = tri_clock_ns();
    if (tri_single_feed(s, 0, (int32_t)(depth + i), tokens + i, 1, logits, err) != TRI_OK) return 0;
  }
  return (double)decode_tokens / ((double)(tri_clock_ns() - start) / 1e9);
}

/* Milliseconds of a step that decodes a token of each of n sequences. */
static double step_ms(tri_single *s, const int32_t *tokens, int64_t n, float *logits, tri_error *err) {
  int64_t start = 0;
  for (int64_t i = 0; i < WARM_TOKENS + decode_tokens; i++) {
    if (i == WARM_TOKENS) start = tri_clock_ns();
    for (int32_t slot = 0; slot < n; slot++) s->rows[slot] = (tri_row){slot, (int32_t)(depth + i), tokens[i]};
    if (tri_stage_check_rows(s->stage, s->rows, (int32_t)n, err) != TRI_OK) return 0;
    tri_stage_run(s->stage, s->rows, (int32_t)n, s->hidden);
    tri_stage_logits(s->stage, s->hidden, (int32_t)n, logits);
  }
  return (double)(tri_clock_ns() - start) / 1e6 / (double)decode_tokens;
}

static int64_t most_sequences(const lists *l) {
  int64_t most = 1;
  for (int i = 0; i < l->n_batches; i++)
    if (l->batches[i] > most) most = l->batches[i];
  return most;
}

static tri_status fill_depth(tri_single *s, const int32_t *tokens, int64_t sequences, tri_error *err) {
  tri_status status = TRI_OK;
  for (int32_t slot = 0; depth && status == TRI_OK && slot < sequences; slot++)
    status = tri_single_feed(s, slot, 0, tokens, (size_t)depth, NULL, err);
  return status;
}

static tri_status measure(const lists *l, int64_t threads, tri_ftype kv, int32_t context, const int32_t *tokens, const tri_mem *buffer,
                          result *out, tri_error *err) {
  tri_single s;
  int64_t start = tri_clock_ms(), sequences = most_sequences(l);
  tri_progress progress = tri_progress_begin("loading");
  tri_single_options o = {.threads = (int)threads, .context = context, .slots = (int32_t)sequences, .max_rows = 512, .kv_type = kv,
                          .progress = tri_progress_update, .progress_arg = &progress};
  tri_status status = tri_single_open(&s, model_path, &o, err);
  tri_progress_end(&progress);
  if (status != TRI_OK) return status;
  *out = (result){.threads = threads, .weight_bytes = tri_stage_weight_bytes(s.stage), .tune = s.tune,
                  .load_s = (double)(tri_clock_ms() - start) / 1000};
  float *logits = malloc((size_t)sequences * (size_t)tri_model_shape(s.model)->vocab * sizeof *logits);
  series *all = calloc(2 + 2 * MAX_LIST, sizeof *all), *together = all ? all + 2 + MAX_LIST : NULL;
  if (!logits || !all) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = fill_depth(&s, tokens, sequences, err);
  tri_error failed = {0};
  for (int64_t r = 0; status == TRI_OK && r < repeats; r++) {
    put(&all[0], tri_bench_read(s.pool, buffer));
    put(&all[1], decode_rate(&s, tokens, logits, &failed));
    for (int i = 0; i < l->n_prompts; i++) put(&all[2 + i], prefill_rate(&s, tokens, l->prompts[i], logits, &failed));
    for (int i = 0; i < l->n_batches; i++) put(&together[i], step_ms(&s, tokens, l->batches[i], logits, &failed));
    if (failed.status) *err = failed, status = failed.status;
  }
  if (status == TRI_OK) {
    out->read_gbs = median(&all[0]), out->decode_tps = median(&all[1]);
    out->decode_gbs = out->decode_tps * (double)out->weight_bytes / 1e9;
    for (int i = 0; i < l->n_prompts; i++) out->prefill_tps[i] = median(&all[2 + i]);
    for (int i = 0; i < l->n_batches; i++) out->batch_ms[i] = median(&together[i]);
  }
  free(all), free(logits);
  tri_single_close(&s);
  return status;
}

/* Without the bandwidth test's own buffer, which is resident all the time. */
static double peak_bytes(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_maxrss * 1024 - TRI_BENCH_READ_BYTES;
}

static json_t *forms_of(const tri_tune *t) {
  json_t *forms = json_object();
  for (int i = 0; i < t->n; i++) {
    char name[48];
    snprintf(name, sizeof name, "%zux%zu", t->entries[i].m, t->entries[i].k);
    json_object_set_new(forms, name, json_string(tri_form_name(t->entries[i].form)));
  }
  return forms;
}

static void print_json(const lists *l, const result *results, const char *isa) {
  json_t *rows = json_array();
  for (int i = 0; i < l->n_threads; i++) {
    const result *r = &results[i];
    json_t *prefill = json_object();
    for (int j = 0; j < l->n_prompts; j++) {
      char key[24];
      snprintf(key, sizeof key, "%lld", (long long)l->prompts[j]);
      json_object_set_new(prefill, key, json_real(r->prefill_tps[j]));
    }
    json_t *steps = json_object();
    for (int j = 0; j < l->n_batches; j++) {
      char key[24];
      snprintf(key, sizeof key, "%lld", (long long)l->batches[j]);
      json_object_set_new(steps, key, json_real(r->batch_ms[j]));
    }
    json_array_append_new(rows, json_pack("{s:I, s:I, s:o, s:f, s:o, s:o, s:f, s:f, s:f, s:f}", "threads", (json_int_t)r->threads,
                                          "weight_bytes_per_token", (json_int_t)r->weight_bytes, "forms", forms_of(&r->tune), "load_s",
                                          r->load_s, "prefill_tps", prefill, "batch_step_ms", steps, "decode_tps", r->decode_tps, "decode_gb_s",
                                          r->decode_gbs, "read_gb_s", r->read_gbs, "share_of_limit", r->decode_gbs / r->read_gbs));
  }
  json_t *doc = json_pack("{s:s, s:s, s:f, s:o}", "model", model_path, "isa", isa,
                          "peak_memory_mb", peak_bytes() / 1e6, "results", rows);
  json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  putchar('\n');
  json_decref(doc);
}

static void print_text(const lists *l, const result *results, const char *isa) {
  printf("%s  %s kernels, medians of %lld\n\n%7s", model_path, isa, (long long)repeats, "threads");
  for (int j = 0; j < l->n_prompts; j++) printf("  prefill %-5lld", (long long)l->prompts[j]);
  printf("  %-9s  %-11s %-13s %s\n", "decode", "reads", "machine", "share");
  for (int i = 0; i < l->n_threads; i++) {
    const result *r = &results[i];
    printf("%7lld", (long long)r->threads);
    for (int j = 0; j < l->n_prompts; j++) printf("  %6.1f tok/s", r->prefill_tps[j]);
    printf("  %5.2f t/s  %5.1f GB/s  %5.1f GB/s   %3.0f %%\n", r->decode_tps, r->decode_gbs, r->read_gbs,
           100 * r->decode_gbs / r->read_gbs);
  }
  if (l->n_batches) printf("\n%7s  together  a step     decode      against one\n", "threads");
  for (int i = 0; i < l->n_threads; i++)
    for (int j = 0; j < l->n_batches; j++) {
      const result *r = &results[i];
      printf("%7lld  %8lld  %6.1f ms  %6.2f t/s  %6.2f\n", (long long)r->threads, (long long)l->batches[j], r->batch_ms[j],
             1000 * (double)l->batches[j] / r->batch_ms[j], r->batch_ms[j] * r->decode_tps / 1000);
    }
  for (int i = 0; i < l->n_threads; i++) {
    const result *r = &results[i];
    printf("\n%lld thread%s: %s of weights a token, matrices as", (long long)r->threads, r->threads == 1 ? "" : "s",
           TRI_UNITS(r->weight_bytes));
    for (int j = 0; j < r->tune.n; j++)
      printf("%s %zux%zu %s", j ? "," : "", r->tune.entries[j].m, r->tune.entries[j].k, tri_form_name(r->tune.entries[j].form));
  }
  printf("\npeak memory %s\n", TRI_UNITS(peak_bytes()));
}

static tri_status read_threads(int64_t counts[MAX_LIST], int *n, tri_error *err) {
  return tri_cli_int_list("threads", thread_list ? thread_list : "1", TRI_POOL_MAX_THREADS, counts, n, MAX_LIST, err);
}

/* The longest prompt or the decode run must fit; the tokens are arbitrary but fixed. */
static tri_status set_up(lists *l, int32_t *context, int32_t **tokens, tri_error *err) {
  tri_model *m;
  tri_status status = tri_cli_int_list("prompt", prompts ? prompts : "128,512", 1 << 20, l->prompts, &l->n_prompts, MAX_LIST, err);
  if (status == TRI_OK) status = read_threads(l->threads, &l->n_threads, err);
  if (status == TRI_OK && batch_list) status = tri_cli_int_list("batch", batch_list, 64, l->batches, &l->n_batches, MAX_LIST, err);
  if (status == TRI_OK) status = tri_model_open(&m, model_path, err);
  if (status != TRI_OK) return status;
  const tri_shape *shape = tri_model_shape(m);
  int64_t most = depth + WARM_TOKENS + decode_tokens;
  for (int i = 0; i < l->n_prompts; i++)
    if (l->prompts[i] > most) most = l->prompts[i];
  int32_t vocab = shape->vocab, limit = shape->context;
  tri_model_close(&m);
  if (most > limit)
    return tri_status_fail(err, TRI_E_INVALID, "%lld tokens are more than the model's context of %d", (long long)most, limit);
  if (!(*tokens = malloc((size_t)most * sizeof **tokens))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  for (int64_t i = 0; i < most; i++) (*tokens)[i] = (int32_t)((i * 7919 + 13) % vocab);
  *context = (int32_t)most;
  return TRI_OK;
}

static int bench_kernels(const tri_kernels *k) {
  tri_error err;
  int64_t counts[MAX_LIST];
  int n;
  tri_status status = read_threads(counts, &n, &err);
  if (status == TRI_OK) status = tri_bench_kernels(model_path, k, (int)counts[0], (int)repeats, as_json, &err);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}

/* What is else a list. */
static tri_status read_one(const char *option, const char *text, int64_t most, int64_t *out, tri_error *err) {
  int n = 1;
  if (!text) return TRI_OK;
  if (tri_cli_int_list(option, text, most, out, &n, 1, err) == TRI_OK) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--%s %s: with --cluster a number from 1 to %lld is expected", option, text, (long long)most);
}

static int bench_cluster(void) {
  tri_error err;
  tri_bench_cluster o = {.model_path = model_path, .coordinator = coordinator, .key_dir = key_dir, .workers = workers, .wire = wire_name,
                         .rate = rate, .requests = requests, .seconds = seconds, .prompt = 128, .predict = decode_tokens, .seed = seed,
                         .timeline = timeline, .as_json = as_json};
  tri_status status = tri_kv_parse(kv_name, &o.kv, &err);
  if (status == TRI_OK)
    status = tri_cli_int_list("streams", stream_list, TRI_BENCH_STREAMS, o.streams, &o.n_streams, TRI_BENCH_LOADS, &err);
  if (status == TRI_OK) status = read_one("prompt", prompts, 1 << 20, &o.prompt, &err);
  if (status == TRI_OK) status = read_one("threads", thread_list, TRI_POOL_MAX_THREADS, &o.threads, &err);
  if (status == TRI_OK) status = tri_bench_over_cluster(&o, &err);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}

int tri_cli_bench(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_ftype kv;
  lists l = {0};
  result results[MAX_LIST];
  int32_t context = 0, *tokens = NULL;
  char why[256];
  if (whole_cluster) return bench_cluster();
  const tri_kernels *kernels = tri_kernels_pick(why, sizeof why);
  if (!kernels) return tri_status_fail(&err, TRI_E_UNSUPPORTED, "%s", why), tri_cli_fail(&err);
  if (kernels_only) return bench_kernels(kernels);
  if (sampling_only) return tri_bench_sampling(kernels, as_json, &err) == TRI_OK ? 0 : tri_cli_fail(&err);
  if (model_path && text_path) return tri_bench_tokenizer(model_path, text_path, as_json, &err) == TRI_OK ? 0 : tri_cli_fail(&err);
  if (!model_path) return tri_status_fail(&err, TRI_E_INVALID, "a model is needed: -m FILE"), tri_cli_fail(&err);
  tri_mem buffer = {0};
  tri_status status = tri_kv_parse(kv_name, &kv, &err);
  if (status == TRI_OK) status = set_up(&l, &context, &tokens, &err);
  if (status == TRI_OK) status = tri_bench_read_buffer(&buffer, &err);
  for (int i = 0; status == TRI_OK && i < l.n_threads; i++)
    status = measure(&l, l.threads[i], kv, context, tokens, &buffer, &results[i], &err);
  if (status == TRI_OK) (as_json ? print_json : print_text)(&l, results, kernels->name);
  tri_mem_free(&buffer);
  free(tokens);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
