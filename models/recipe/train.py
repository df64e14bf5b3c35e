#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train, export and check the Trireme story models: small ternary (BitNet b1.58) language models.

Weights are ternary by absmean and activations int8 by per-token absmax, both with a straight-through
estimator (Ma et al. 2024, "The Era of 1-bit LLMs"; Ma et al. 2025, "BitNet b1.58 2B4T").

  python3 train.py tokenizer           # byte-level BPE -> work/tokenizer.json, work/tokens.bin
  python3 train.py train  NAME SECONDS TOTAL_SECONDS   # resumes from work/NAME.pt
  python3 train.py export NAME OUT     # Hugging Face folder, packed ternary safetensors
  python3 train.py refs   NAME OUT     # reference ids, logits, NLL from transformers

NAME is story-bitnet (BitNetForCausalLM) or story-llama158 (LlamaForCausalLM + BitLinear).
Beside this file stand train.txt.xz (prepare.py's train.txt, compressed) and valid.txt.
"""
import json
import lzma
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

WORK = os.environ.get("WORK_DIR", "work")
os.makedirs(WORK, exist_ok=True)
HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB, CTX = 8192, 1024
BOS_TEXT, EOS_TEXT = "<|begin_of_text|>", "<|end_of_text|>"
SPECIALS = [BOS_TEXT, EOS_TEXT, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
SPECIALS += [f"<|reserved_special_token_{i}|>" for i in range(11)]
BOS, EOS = VOCAB - len(SPECIALS), VOCAB - len(SPECIALS) + 1  # specials come last in the vocabulary
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONFIGS = {
    "story-bitnet": dict(
        arch="bitnet", dim=512, ffn=1536, layers=12, heads=8, kv=4, theta=500000.0, tied=True
    ),
    "story-llama158": dict(
        arch="llama", dim=256, ffn=768, layers=6, heads=8, kv=2, theta=500000.0, tied=True
    ),
}
EPS = 1e-5


# --- the model ---


def quant_weight(w):
    """Absmean ternary: values in {-1, 0, 1} * mean|w|; the gradient passes straight through."""
    s = 1.0 / w.abs().mean().clamp(min=1e-5)
    return w + ((w * s).round().clamp(-1, 1) / s - w).detach()


def quant_act(x):
    """Absmax int8 per token; the gradient passes straight through."""
    s = 127.0 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
    return x + ((x * s).round().clamp(-128, 127) / s - x).detach()


class BitLinear(nn.Linear):
    """A linear layer of ternary weights on int8 activations, without bias."""

    def __init__(self, i, o):
        super().__init__(i, o, bias=False)

    def forward(self, x):
        x = x.float()
        return F.linear(quant_act(x).bfloat16(), quant_weight(self.weight.float()).bfloat16())


class Norm(nn.Module):
    """RMSNorm in float32."""

    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS))


def rope(x, cos, sin):
    """Rotary position embedding by halves: pairs are (i, i + h)."""
    h = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., h:], x[..., :h]), -1) * sin


class Block(nn.Module):
    """A transformer layer. With arch "bitnet": sub-norms before o and down, squared ReLU gate."""

    def __init__(self, c):
        super().__init__()
        d, f = c["dim"], c["ffn"]
        self.c = c
        self.hd = d // c["heads"]
        # The order in which parameters are made fixes the random numbers that they get.
        self.q = BitLinear(d, d)
        self.k = BitLinear(d, self.hd * c["kv"])
        self.v = BitLinear(d, self.hd * c["kv"])
        self.o = BitLinear(d, d)
        self.gate = BitLinear(d, f)
        self.up = BitLinear(d, f)
        self.down = BitLinear(f, d)
        self.n1, self.n2 = Norm(d), Norm(d)
        if c["arch"] == "bitnet":
            self.sa, self.sf = Norm(d), Norm(f)

    def attend(self, h, cos, sin):
        """Causal grouped-query attention over normed rows h [B, T, D], without the output projection."""
        B, T, D = h.shape
        c = self.c
        q = rope(self.q(h).view(B, T, c["heads"], self.hd).transpose(1, 2).float(), cos, sin).bfloat16()
        k = rope(self.k(h).view(B, T, c["kv"], self.hd).transpose(1, 2).float(), cos, sin).bfloat16()
        v = self.v(h).view(B, T, c["kv"], self.hd).transpose(1, 2)
        r = c["heads"] // c["kv"]
        k, v = k.repeat_interleave(r, 1), v.repeat_interleave(r, 1)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return a.transpose(1, 2).reshape(B, T, D)

    def forward(self, x, cos, sin):
        bitnet = self.c["arch"] == "bitnet"
        a = self.attend(self.n1(x), cos, sin)
        x = x + self.o(self.sa(a) if bitnet else a)
        h = self.n2(x)
        g = self.gate(h).float()
        u = self.up(h).float()
        m = (F.relu(g).square() if bitnet else F.silu(g)) * u
        return x + self.down(self.sf(m) if bitnet else m)


class Model(nn.Module):
    """Embedding, blocks, norm and tied head. With targets the forward pass gives the mean loss."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.emb = nn.Embedding(VOCAB, c["dim"])
        self.blocks = nn.ModuleList([Block(c) for _ in range(c["layers"])])
        self.n = Norm(c["dim"])
        for n, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 if "emb" in n else p.shape[1] ** -0.5)
        hd = c["dim"] // c["heads"]
        inv = c["theta"] ** (-torch.arange(0, hd, 2).float() / hd)
        f = torch.outer(torch.arange(CTX).float(), inv)
        f = torch.cat((f, f), -1)
        self.register_buffer("cos", f.cos(), persistent=False)
        self.register_buffer("sin", f.sin(), persistent=False)

    def forward(self, ids, targets=None):
        x = self.emb(ids).float()
        T = ids.shape[1]
        for b in self.blocks:
            x = b(x, self.cos[:T], self.sin[:T])
        logits = F.linear(self.n(x).bfloat16(), self.emb.weight.bfloat16())
        if targets is None:
            return logits
        return F.cross_entropy(logits.float().view(-1, VOCAB), targets.reshape(-1))


# --- tokenizer and corpus ---


def train_tokenizer(docs):
    """Byte-level BPE with Llama 3's pattern, trained on the paragraphs of the works."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    t.decoder = decoders.ByteLevel()
    pieces = [p for d in docs for p in d.split("\n\n")]
    t.train_from_iterator(pieces, trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    ))
    t.add_special_tokens(SPECIALS)
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single=f"{BOS_TEXT} $A",
            pair=f"{BOS_TEXT} $A {BOS_TEXT} $B",
            special_tokens=[(BOS_TEXT, t.token_to_id(BOS_TEXT))],
        ),
    ])
    return t


def tokenizer():
    """Make the tokenizer, or take the tokenizer.json beside this file, and encode the corpus with it."""
    from tokenizers import Tokenizer

    with lzma.open(f"{HERE}/train.txt.xz", "rt", encoding="utf-8") as file:
        raw = file.read()
    docs = raw.split(f"\n{EOS_TEXT}\n")
    if os.path.exists(f"{HERE}/tokenizer.json"):
        t = Tokenizer.from_file(f"{HERE}/tokenizer.json")
    else:
        t = train_tokenizer(docs)
    encode(t, docs, raw)


def encode(t, docs, raw):
    """Write the tokenizer and the corpus as uint16 ids, each work between BOS and EOS."""
    t.save(f"{WORK}/tokenizer.json")
    print("vocab", t.get_vocab_size(), {s: t.token_to_id(s) for s in SPECIALS[:3]})
    bos, eos = t.token_to_id(BOS_TEXT), t.token_to_id(EOS_TEXT)
    out = []
    for d in docs:
        # Parts of about 200,000 characters, cut between paragraphs, so that encode_batch shares the work.
        paragraphs = np.array(d.split("\n\n"), dtype=object)
        parts = ["\n\n".join(x) for x in np.array_split(paragraphs, max(1, len(d) // 200000))]
        parts = [p if i == 0 else "\n\n" + p for i, p in enumerate(parts)]
        ids = [bos]
        for e in t.encode_batch(parts, add_special_tokens=False):
            ids += e.ids
        out.append(np.array(ids + [eos], dtype=np.uint16))
    a = np.concatenate(out)
    a.tofile(f"{WORK}/tokens.bin")
    print("tokens", len(a), "bytes/token", len(raw.encode()) / len(a))


def valid_ids():
    """Ids of the validation text, without BOS."""
    from tokenizers import Tokenizer

    t = Tokenizer.from_file(f"{WORK}/tokenizer.json")
    with open(f"{HERE}/valid.txt", encoding="utf-8") as file:
        return np.array(t.encode(file.read(), add_special_tokens=False).ids, dtype=np.int64)


# --- training ---


@torch.no_grad()
def nll(model, ids, ctx=512):
    """Mean NLL per predicted token in non-overlapping windows of ctx tokens (each predicts ctx-1)."""
    w = ids[: len(ids) // ctx * ctx].reshape(-1, ctx)
    tot = n = 0.0
    for i in range(0, len(w), 16):
        x = torch.tensor(w[i:i + 16]).cuda()
        lg = model(x).float()
        targets = x[:, 1:].reshape(-1)
        tot += F.cross_entropy(lg[:, :-1].reshape(-1, VOCAB), targets, reduction="sum").item()
        n += x[:, 1:].numel()
    return tot / n, int(n)


def optimizer(m):
    """AdamW; weight decay (first group) on the ternary matrices only."""
    mats = [p for n, p in m.named_parameters() if p.dim() == 2 and "emb" not in n]
    rest = [p for n, p in m.named_parameters() if not (p.dim() == 2 and "emb" not in n)]
    groups = [dict(params=mats, weight_decay=0.1), dict(params=rest, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)


def set_schedule(opt, peak, step, f):
    """Learning rate and weight decay when the share f of the time is used; returns the rate.

    200 steps of warm-up, level for a tenth of the time, then linear down to 2 % of the peak; weight decay
    ends at half-time.
    """
    lr = peak * min(1.0, (step + 1) / 200) * (1.0 if f < 0.1 else max(0.02, 1 - (f - 0.1) / 0.9))
    for q in opt.param_groups:
        q["lr"] = lr
    opt.param_groups[0]["weight_decay"] = 0.1 if f < 0.5 else 0.0
    return lr


def train(name, seconds, total):
    """Train for `seconds` of the `total` that shapes the schedule, from the checkpoint if there is one."""
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    c = CONFIGS[name]
    m = Model(c).cuda()
    tok = torch.from_numpy(np.fromfile(f"{WORK}/tokens.bin", dtype=np.uint16).astype(np.int32)).cuda()
    N = len(tok)
    opt = optimizer(m)
    used, step, ck = 0.0, 0, f"{WORK}/{name}.pt"
    if os.path.exists(ck):
        s = torch.load(ck, map_location="cuda")
        m.load_state_dict(s["m"])
        opt.load_state_dict(s["o"])
        used, step = s["used"], s["step"]
    cm = torch.compile(m)
    B = 96 if c["arch"] == "bitnet" else 192
    peak = 2.4e-3 if c["arch"] == "bitnet" else 3e-3
    g = torch.Generator(device="cuda")
    g.manual_seed(1000 + step)
    t0 = time.time()
    last, base = t0, used
    while True:
        now = time.time()
        used = base + (now - t0)
        if now - t0 > seconds or used > total:
            break
        lr = set_schedule(opt, peak, step, min(1.0, used / total))
        i = torch.randint(0, N - CTX - 1, (B,), generator=g, device="cuda")
        x = tok[i[:, None] + torch.arange(CTX + 1, device="cuda")].long()
        with torch.autocast("cuda", torch.bfloat16):
            loss = cm(x[:, :-1].contiguous(), x[:, 1:].contiguous())
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        if step % 100 == 0:
            l, t = loss.item(), time.time()
            speed = 100 * B * CTX / (t - last)
            print(f"step {step} loss {l:.4f} lr {lr:.2e} {speed:.0f} tok/s used {used:.0f}", flush=True)
            last = t
            if not math.isfinite(l):
                sys.exit("diverged")
    torch.save(dict(m=m.state_dict(), o=opt.state_dict(), used=used, step=step), ck)
    v, n = nll(m, valid_ids())
    print(f"{name}: step {step} used {used:.0f}s valid nll/token {v:.4f} ppl {math.exp(v):.2f} over {n}",
          flush=True)


# --- export ---


def hf_config(name):
    """config.json of the exported folder."""
    c = CONFIGS[name]
    bitnet = c["arch"] == "bitnet"
    q = dict(quant_method="bitnet")
    if bitnet:
        q.update(linear_class="autobitlinear", quantization_mode="offline")
    q.update(modules_to_not_convert=None)
    return dict(
        architectures=["BitNetForCausalLM" if bitnet else "LlamaForCausalLM"],
        model_type="bitnet" if bitnet else "llama",
        hidden_act="relu2" if bitnet else "silu",
        hidden_size=c["dim"],
        intermediate_size=c["ffn"],
        num_hidden_layers=c["layers"],
        num_attention_heads=c["heads"],
        num_key_value_heads=c["kv"],
        head_dim=c["dim"] // c["heads"],
        max_position_embeddings=CTX,
        rms_norm_eps=EPS,
        rope_theta=c["theta"],
        vocab_size=VOCAB,
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=EOS,
        initializer_range=0.02,
        use_cache=True,
        attention_bias=False,
        attention_dropout=0.0,
        mlp_bias=False,
        torch_dtype="bfloat16",
        quantization_config=q,
    )


# Our name of a block's part -> transformers' name.
NAMES = dict(
    q="self_attn.q_proj", k="self_attn.k_proj", v="self_attn.v_proj", o="self_attn.o_proj",
    gate="mlp.gate_proj", up="mlp.up_proj", down="mlp.down_proj",
    n1="input_layernorm", n2="post_attention_layernorm",
    sa="self_attn.attn_sub_norm", sf="mlp.ffn_sub_norm",
)


def hf_tensors(sd, arch):
    """The checkpoint's tensors under transformers' names, ternary matrices packed four weights to a byte."""
    from transformers.integrations.bitnet import pack_weights

    t = {
        "model.embed_tokens.weight": sd["emb.weight"].bfloat16(),
        "model.norm.weight": sd["n.weight"].bfloat16(),
    }
    for k, w in sd.items():
        if not k.startswith("blocks."):
            continue
        _, i, part, _ = k.split(".")
        key = f"model.layers.{i}.{NAMES[part]}"
        if w.dim() == 2:
            s = w.abs().mean().clamp(min=1e-5)
            t[key + ".weight"] = pack_weights((w / s).round().clamp(-1, 1)).contiguous()
            t[key + ".weight_scale"] = (s if arch == "bitnet" else 1 / s).reshape(1).bfloat16()
        else:
            t[key + ".weight"] = w.bfloat16()
    return t


def save_shards(t, out):
    """Write tensors as safetensors in shards of at most 12 MB, with an index when there are several."""
    from safetensors.torch import save_file

    shards, cur, size = [], {}, 0
    for k, v in t.items():
        b = v.numel() * v.element_size()
        if size + b > 12_000_000:
            shards.append(cur)
            cur, size = {}, 0
        cur[k] = v
        size += b
    shards.append(cur)
    wm = {}
    for i, s in enumerate(shards):
        f = "model.safetensors"
        if len(shards) > 1:
            f = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(s, f"{out}/{f}", metadata={"format": "pt"})
        wm.update({k: f for k in s})
    if len(shards) > 1:
        total = sum(v.numel() * v.element_size() for v in t.values())
        index = dict(metadata=dict(total_size=total), weight_map=wm)
        save_json(index, f"{out}/model.safetensors.index.json", 1)


def save_json(value, path, indent=2):
    """Write one JSON file."""
    with open(path, "w") as file:
        json.dump(value, file, indent=indent)


def export(name, out):
    """Write the checkpoint as a Hugging Face folder."""
    import shutil

    os.makedirs(out, exist_ok=True)
    m = torch.load(f"{WORK}/{name}.pt", map_location="cpu")["m"]
    sd = {k: v.float().cpu() for k, v in m.items()}
    save_shards(hf_tensors(sd, CONFIGS[name]["arch"]), out)
    cfg = hf_config(name)
    save_json(cfg, f"{out}/config.json")
    ids = dict(bos_token_id=cfg["bos_token_id"], eos_token_id=cfg["eos_token_id"])
    save_json(dict(**ids, do_sample=True, temperature=0.8, top_p=0.95), f"{out}/generation_config.json")
    shutil.copy(f"{WORK}/tokenizer.json", f"{out}/tokenizer.json")
    texts = dict(bos_token=BOS_TEXT, eos_token=EOS_TEXT)
    save_json(
        dict(
            **texts,
            model_max_length=CTX,
            tokenizer_class="PreTrainedTokenizerFast",
            clean_up_tokenization_spaces=False,
        ),
        f"{out}/tokenizer_config.json",
    )
    save_json(texts, f"{out}/special_tokens_map.json")
    print(name, "exported", {f: os.path.getsize(f"{out}/{f}") for f in sorted(os.listdir(out))})


# --- references ---

# Texts with a reference continuation.
PROMPTS = [
    "Once upon a time", "Once upon a time there lived a king who had three sons.",
    '"What is the matter?" asked the old woman.', "The ship sailed at dawn, and",
    "In the year 1866, a strange thing happened", "Alice looked at the White Rabbit and said,",
    "Él dijo: café — naïve façade, 東京 🚀", "It was a dark and stormy night;\n\nthe rain fell in torrents",
]
# Texts with reference ids: spaces, contractions, digits, code, scripts, emoji, invisible characters.
VECTORS = PROMPTS + [
    "", " ", "  ", "   leading", "trailing   ", "a\tb\t\tc", "line\nline\n\nline\r\nline",
    "I'm you're they'll we've he'd it's CAN'T DON'T", "1234567890", "3.14159 and 2,718,281", "x=1;y=2",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 2; }", "def f(x):\n    return x ** 2\n",
    "https://example.org/a?b=c&d=%20e#f", "e-mail: someone@example.org", "ALL CAPS AND lower and MiXeD",
    "antidisestablishmentarianism" * 3, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "日本語のテキスト", "Привет, мир!", "مرحبا بالعالم", "שלום עולם", "हिन्दी पाठ", "ภาษาไทย", "한국어 텍스트", "Ελληνικά",
    "👩‍👩‍👧‍👦 family", "🏳️‍🌈 flag 🇩🇪", "e\u0301 vs é", "zero\u200bwidth", "nbsp\u00a0here",
    "“curly” ‘quotes’ — dash … ellipsis", "½ ² ³ ①", "a\u0000b", "\ufeffBOM", "tab\there",
    "        eight spaces", "\n\n\n", " \n \n ", "mixed \n\t whitespace   end ", "C++ C# F# .NET",
    "$100.00 €50 £20 ¥1000", "(parens) [brackets] {braces} <angles>", "!!!???...---___===",
    "snake_case camelCase PascalCase kebab-case", "<|begin_of_text|>specials<|end_of_text|>",
    "<|eot_id|> in <|start_header_id|>user<|end_header_id|>\n\nhi", "almost <|special|> token", "end.",
    "The End", "naïve café résumé", "ﬁ ligature ﬂ", "Ⅷ roman", "𝕳𝖊𝖑𝖑𝖔", "١٢٣٤", "1st 2nd 3rd 100th",
    "It's 'quoted' \"twice\"",
]


def reference(m, t, text, logits_path):
    """One prompt's ids, logits (saved when a path is given), 64 greedy tokens and their top-1/top-2 gaps."""
    ids = t.encode(text).ids
    x = torch.tensor([ids]).cuda()
    lg = m(x).logits[0].float().cpu().numpy()
    if logits_path:
        np.save(logits_path, lg.astype(np.float32))
    gen, gap = [], []
    for _ in range(64):
        z = m(x).logits[0, -1].float()
        top = z.topk(2).values
        k = int(z.argmax())
        gen.append(k)
        gap.append(round(float(top[0] - top[1]), 5))
        x = torch.cat((x, torch.tensor([[k]]).cuda()), 1)
        if k == EOS:
            break
    print(repr(text), "->", repr(t.decode(gen)[:200]))
    logits = os.path.basename(logits_path) if logits_path else None
    return dict(
        text=text, ids=ids, greedy_ids=gen, greedy_text=t.decode(gen), top1_top2_gap=gap, logits=logits
    )


@torch.no_grad()
def refs(name, out):
    """Write refs.json and the logits: what transformers computes in float32 from the exported folder."""
    import transformers
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    t = Tokenizer.from_file(f"{out}/tokenizer.json")
    m = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager")
    m = m.cuda().eval()
    print(type(m.model.layers[0].mlp.gate_proj))
    torch.backends.cuda.matmul.allow_tf32 = False
    r = dict(
        model=name,
        computed_with="transformers %s, float32" % transformers.__version__,
        prompts=[],
        tokenizer_vectors=[
            dict(text=v, ids=t.encode(v, add_special_tokens=False).ids) for v in VECTORS
        ],
    )
    for i, p in enumerate(PROMPTS):
        r["prompts"].append(reference(m, t, p, f"{out}/logits_{i}.npy" if i < 3 else None))

    v, n = nll(lambda x: m(x).logits, valid_ids())
    r["valid"] = dict(
        file="valid.txt",
        add_bos=False,
        window=512,
        nll_per_token=round(v, 6),
        predicted_tokens=n,
        tokens=int(len(valid_ids())),
        bytes=os.path.getsize(f"{HERE}/valid.txt"),
    )
    bits = v * n / math.log(2) / (r["valid"]["bytes"] * n / len(valid_ids()))
    print("valid (exported, transformers)", v, n, "bits/byte", bits)
    own = Model(CONFIGS[name]).cuda()
    own.load_state_dict(torch.load(f"{WORK}/{name}.pt", map_location="cuda")["m"])
    print("valid (training code, bf16)", nll(own, valid_ids()))

    torch.manual_seed(0)
    x = torch.tensor([t.encode("Once upon a time").ids]).cuda()
    s = m.generate(x, max_new_tokens=160, do_sample=True, temperature=0.8, top_p=0.95)
    print("SAMPLE:", t.decode(s[0].tolist()))
    with open(f"{out}/refs.json", "w") as file:
        json.dump(r, file, indent=1, ensure_ascii=False)


def main(a):
    """Run the step that the command line names."""
    if a[1] == "tokenizer":
        tokenizer()
    elif a[1] == "train":
        train(a[2], float(a[3]), float(a[4]))
    elif a[1] == "export":
        export(a[2], a[3])
    elif a[1] == "refs":
        refs(a[2], a[3])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
