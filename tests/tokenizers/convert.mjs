// SPDX-License-Identifier: MIT
// A model of next to no weights around a tokenizer, converted to GGUF: its path.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const D = 128, FFN = 128, KV = 64;

export function convert(trireme, folder, v) {
  const dir = path.resolve(folder, `${v.name}-model`), out = path.resolve(folder, `${v.name}.gguf`);
  fs.mkdirSync(dir, { recursive: true });
  const vocab = v.json.model.vocab, size = Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
  const vocab_size = Math.max(size, ...v.json.added_tokens.map((t) => t.id + 1)) + 7; // padded, as models are
  fs.writeFileSync(path.join(dir, 'tokenizer.json'), JSON.stringify(v.json));
  fs.writeFileSync(path.join(dir, 'config.json'), JSON.stringify({
    architectures: ['BitNetForCausalLM'], model_type: 'bitnet', hidden_act: 'relu2', hidden_size: D, intermediate_size: FFN, num_hidden_layers: 1,
    num_attention_heads: 2, num_key_value_heads: 1, vocab_size, max_position_embeddings: 64, rms_norm_eps: 1e-5, tie_word_embeddings: true,
    quantization_config: { quant_method: 'bitnet' } }));
  writeWeights(path.join(dir, 'model.safetensors'), vocab_size);
  execFileSync(trireme, ['convert', dir, '-o', out, '--embedding-type', 'q8_0'], { stdio: ['ignore', 'ignore', 'inherit'] });
  return out;
}

// Every packed byte is four zeros of a ternary weight; floats are zeros, which need no bytes in a file with holes.
function writeWeights(file, vocab_size) {
  const layer = 'model.layers.0.', header = {};
  let at = 0;
  const put = (name, dtype, shape) => {
    const bytes = shape.reduce((a, b) => a * b, 1) * { BF16: 2, U8: 1 }[dtype];
    header[name] = { dtype, shape, data_offsets: [at, at += bytes] };
  };
  put('model.embed_tokens.weight', 'BF16', [vocab_size, D]);
  put('model.norm.weight', 'BF16', [D]);
  for (const [name, n] of [['input_layernorm', D], ['post_attention_layernorm', D], ['self_attn.attn_sub_norm', D], ['mlp.ffn_sub_norm', FFN]])
    put(`${layer}${name}.weight`, 'BF16', [n]);
  for (const [name, m, k] of [['self_attn.q_proj', D, D], ['self_attn.k_proj', KV, D], ['self_attn.v_proj', KV, D], ['self_attn.o_proj', D, D],
    ['mlp.gate_proj', FFN, D], ['mlp.up_proj', FFN, D], ['mlp.down_proj', D, FFN]]) {
    put(`${layer}${name}.weight_scale`, 'BF16', [1]);
    put(`${layer}${name}.weight`, 'U8', [m / 4, k]);
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8), f = fs.openSync(file, 'w');
  length.writeBigUInt64LE(BigInt(text.length));
  fs.writeSync(f, length);
  fs.writeSync(f, text);
  fs.ftruncateSync(f, 8 + text.length + at);
  for (const [name, t] of Object.entries(header)) {
    const start = 8 + text.length + t.data_offsets[0];
    if (t.dtype === 'U8') fs.writeSync(f, Buffer.alloc(t.data_offsets[1] - t.data_offsets[0], 0x55), 0, undefined, start);
    if (name.endsWith('weight_scale')) fs.writeSync(f, Buffer.from([0x80, 0x3f]), 0, 2, start); // 1.0
  }
  fs.closeSync(f);
}
