/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "cli/cli.h"
#include "engine/convert.h"
#include "engine/order.h"
#include "engine/vocab.h"

static const char *out_path, *type_name = "i2_s", *embedding_name, *head_name, *shape_name;
static tri_args_list tiles, in_tiles;
static bool absmean;
static const char *order_name;
static int64_t layers, vocab, seed = 1;

enum { MOST_TILES = sizeof tiles.items / sizeof *tiles.items };

/* One line for each total: looking at a file, and writing. */
typedef struct lines {
  tri_progress line;
  uint64_t total;
} lines;

static void on_progress(void *arg, uint64_t done, uint64_t total, const char *tensor) {
  lines *l = arg;
  (void)tensor;
  if (total != l->total) {
    tri_progress_end(&l->line);
    l->line = tri_progress_begin(l->total ? "writing" : "working"), l->total = total;
  }
  tri_progress_update(&l->line, done, total);
}

static tri_status parse_type(const char *name, uint32_t *out, tri_error *err) {
  static const uint32_t types[] = {TRI_TYPE_I2_S,  TRI_TYPE_TL1,    TRI_TYPE_TL2,   TRI_TYPE_TQ1_0,
                                   TRI_TYPE_TQ2_0, TRI_TYPE_IQ1_BN, TRI_TYPE_IQ2_BN};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcasecmp(name, tri_type_name(types[i])) == 0) return *out = types[i], TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--type %s: i2_s, tl1, tl2, tq1_0, tq2_0, iq1_bn or iq2_bn expected", name);
}

static tri_status parse_order(const char *name, tri_i2s_order *out, tri_error *err) {
  for (int i = TRI_I2S_X86; i <= TRI_I2S_FOURS; i++)
    if (strcmp(name, tri_order_name((tri_i2s_order)i)) == 0) return *out = (tri_i2s_order)i, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--in-order %s: x86, arm or fours expected", name);
}

static tri_status parse_tiles(const tri_args_list *list, tri_tiles_given out[MOST_TILES], tri_error *err) {
  tri_status status = TRI_OK;
  for (int i = 0; i < list->count && status == TRI_OK; i++) status = tri_tiles_parse(list->items[i], &out[i], err);
  return status;
}

/* What both commands share: the output's path and type are needed, progress is shown, the result's size is told. */
static int write_model(tri_status (*make)(const tri_convert_options *o, const char *source, tri_error *err), const char *source) {
  tri_error err;
  tri_tiles_given given[MOST_TILES], in_given[MOST_TILES];
  tri_convert_options o = {.progress = on_progress, .tiles = given, .n_tiles = (size_t)tiles.count, .in_tiles = in_given,
                           .n_in_tiles = (size_t)in_tiles.count, .absmean = absmean, .retype_embedding = embedding_name != NULL};
  uint32_t head_type;
  tri_i2s_order order;
  if (order_name) o.in_order = &order;
  if (head_name) o.head_type = &head_type;
  if (!out_path) return tri_status_fail(&err, TRI_E_INVALID, "an output file is needed: -o FILE"), tri_cli_fail(&err);
  tri_status status = parse_type(type_name, &o.linear_type, &err);
  if (status == TRI_OK) status = tri_cli_matrix_type("embedding-type", embedding_name ? embedding_name : "f16", &o.embedding_type, &err);
  if (status == TRI_OK && head_name) status = tri_cli_matrix_type("head-type", head_name, &head_type, &err);
  if (status == TRI_OK && order_name) status = parse_order(order_name, &order, &err);
  if (status == TRI_OK) status = parse_tiles(&tiles, given, &err);
  if (status == TRI_OK) status = parse_tiles(&in_tiles, in_given, &err);
  if (status != TRI_OK) return tri_cli_fail(&err);
  lines progress = {tri_progress_begin("working"), 0};
  o.progress_arg = &progress;
  status = make(&o, source, &err);
  tri_progress_end(&progress.line);
  if (status != TRI_OK) return tri_cli_fail(&err);
  struct stat st;
  if (stat(out_path, &st) == 0) printf("%s  %s\n", out_path, TRI_UNITS(st.st_size));
  return 0;
}

static tri_status make_converted(const tri_convert_options *o, const char *source, tri_error *err) {
  struct stat st;
  if (stat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
    if (o->n_in_tiles || order_name || absmean)
      return tri_status_fail(err, TRI_E_INVALID, "%s is for GGUF files, and %s is a folder",
                             absmean ? "--absmean" : order_name ? "--in-order" : "--in-tiles", source);
    return tri_convert_hf(source, out_path, o, err);
  }
  return tri_convert_gguf(source, out_path, o, err);
}
static tri_status make_dummy(const tri_convert_options *o, const char *source, tri_error *err) {
  return tri_convert_dummy(source, out_path, o->embedding_type, (int)layers, (int)vocab, (uint64_t)seed, o, err);
}

#define OUT_ARG {"out", 'o', TRI_ARG_STRING, &out_path, "FILE", "The GGUF file to write; it appears whole or not at all.", 0, 0}
#define TYPE_ARG                                                                                                                           \
  {                                                                                                                                        \
    "type", 0, TRI_ARG_STRING, &type_name, "TYPE",                                                                                         \
        "Type of the ternary weights: i2_s (default), tl1, tl2, tq1_0, tq2_0, iq1_bn or iq2_bn.", 0, 0                                     \
  }
#define TILES_ARG                                                                                                                \
  {"tiles", 0, TRI_ARG_MULTI, &tiles, "MxK=BM,BK[,bm]",                                                                           \
   "Tile sizes to write M x K matrices in tl1 or tl2 with; repeatable (default: bitnet.cpp's for its models, else by a rule).", 0, 0}
#define EMBEDDING_ARG                                                                                                                      \
  {                                                                                                                                        \
    "embedding-type", 0, TRI_ARG_STRING, &embedding_name, "TYPE",                                                                          \
        "Type of the embedding: f32, f16, bf16, q8_0 or q6_k (default f16; of a GGUF file what it is).", 0, 0                              \
  }
#define HEAD_ARG                                                                                                                           \
  {                                                                                                                                        \
    "head-type", 0, TRI_ARG_STRING, &head_name, "TYPE",                                                                                    \
        "Type of the head, likewise (default: the embedding's; of a GGUF file what it is). A head that was the embedding then gets a "     \
        "tensor of its own.",                                                                                                              \
        0, 0                                                                                                                               \
  }

int tri_cli_convert(int argc, char **argv) {
  static const tri_arg args[] = {
      OUT_ARG,
      TYPE_ARG,
      EMBEDDING_ARG,
      HEAD_ARG,
      TILES_ARG,
      {"in-tiles", 0, TRI_ARG_MULTI, &in_tiles, "MxK=BM,BK[,bm]",
       "Tile sizes of IN.gguf in tl1 or tl2, from bitnet.cpp's kernel_config.ini; repeatable.", 0, 0},
      {"in-order", 0, TRI_ARG_STRING, &order_name, "ORDER",
       "How IN.gguf's i2_s was packed: x86 (files on the hubs), arm (by bitnet.cpp on ARM) or fours (four rows a byte). Default: as its "
       "weights tell, else x86.",
       0, 0},
      {"absmean", 0, TRI_ARG_FLAG, &absmean, NULL,
       "IN.gguf's linears in float types that aren't ternary are a BitNet's master weights: round them as it was trained.", 0, 0},
  };
  static const tri_args_spec spec = {
      "trireme convert",
      "Make a GGUF model from a Hugging Face folder (config.json, tokenizer.json, safetensors), or change the types of a GGUF model.",
      "HF_DIR|IN.gguf -o FILE [options]",
      "  trireme convert ~/bitnet-b1.58-2B-4T -o bitnet-2b.gguf --type i2_s\n"
      "  trireme convert story-bitnet -o story.gguf --embedding-type q8_0\n"
      "  trireme convert story.gguf -o story-tl2.gguf --type tl2\n"
      "  trireme convert falcon3-tq2_0.gguf -o falcon3.gguf --head-type q6_k\n",
      args, sizeof args / sizeof *args};
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 1, 1, NULL, &code)) return code;
  return write_model(make_converted, argv[1]);
}

int tri_cli_make_dummy(int argc, char **argv) {
  static const tri_arg args[] = {
      OUT_ARG,
      {"shape", 0, TRI_ARG_STRING, &shape_name, "NAME",
       "bitnet-large, bitnet-3b, bitnet-2b, llama3-8b, falcon3-1b, -3b, -7b or -10b, falcon-e-1b or -3b, trilm-4b.", 0, 0},
      TYPE_ARG,
      EMBEDDING_ARG,
      HEAD_ARG,
      TILES_ARG,
      {"layers", 0, TRI_ARG_INT, &layers, "N", "Another number of layers than the real model's.", 1, 1024},
      {"vocab", 0, TRI_ARG_INT, &vocab, "N", "Another number of tokens than the real model's.", TRI_CONVERT_DUMMY_VOCAB,
       TRI_VOCAB_TOKENS},
      {"seed", 0, TRI_ARG_INT, &seed, "N", "The same seed gives the same file (default 1).", 0, 9e15},
  };
  static const tri_args_spec spec = {"trireme make-dummy",
                                     "Make a model of random ternary weights at a real model's shape, for speed work.",
                                     "--shape NAME -o FILE [options]", "  trireme make-dummy --shape llama3-8b -o /tmp/8b.gguf\n"
                                     "  trireme make-dummy --shape bitnet-2b --layers 4 --vocab 512 -o /tmp/small.gguf\n",
                                     args, sizeof args / sizeof *args};
  int code;
  tri_error err;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  if (!shape_name)
    return tri_status_fail(&err, TRI_E_INVALID, "a shape is needed, as --shape bitnet-2b; --help lists them"), tri_cli_fail(&err);
  return write_model(make_dummy, shape_name);
}
