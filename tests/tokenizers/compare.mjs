// SPDX-License-Identifier: MIT
// node compare.mjs TRIREME FETCHED WORK VALID_TXT [NAME…]: the ids and texts of trireme beside those of two other programs, for public
// vocabularies and for variants of them. FETCHED is what deploy/setup --tokenizers made, WORK an empty folder for files.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { corpus } from './corpus.mjs';
import { convert } from './convert.mjs';
import { vocabularies } from './vocabularies.mjs';

const [trireme, fetched, work, valid, ...only] = process.argv.slice(2);
const require = createRequire(path.resolve(fetched, 'package.json'));
const Original = original(); // a build of Hugging Face's Rust library
const { Tokenizer: Script } = require('@huggingface/tokenizers'); // their JavaScript library
const COUNT = 2500;

function original() {
  try {
    return require('@anush008/tokenizers').Tokenizer;
  } catch (e) {
    console.log(`no build of the Rust library for this machine: ${e.message}`);
    return null;
  }
}

function ours(model, strings, ...options) {
  const said = execFileSync(trireme, ['tokenize', '-m', model, '--lines', '--no-bos', ...options],
    { input: strings.map((s) => JSON.stringify(s) + '\n').join(''), maxBuffer: 1 << 28 });
  return said.toString().trimEnd().split('\n').map((l) => JSON.parse(l));
}

let failed = 0;
function check(what, strings, mine, theirs) {
  let wrong = 0;
  strings.forEach((s, i) => {
    if (JSON.stringify(mine[i]) === JSON.stringify(theirs[i])) return;
    if (wrong++ < 3) console.error(`${what}: ${JSON.stringify(s)}\n  trireme ${JSON.stringify(mine[i])}\n  other   ${JSON.stringify(theirs[i])}`);
  });
  console.log(`${what}: ${strings.length} strings, ${wrong} differ`);
  failed += wrong;
}

for (const v of vocabularies(fetched)) {
  if (only.length && !only.includes(v.name)) continue;
  const file = path.resolve(work, `${v.name}.json`);
  fs.writeFileSync(file, JSON.stringify(v.json));
  const strings = corpus(COUNT, valid, true).filter((t) => !v.skips?.test(t)), plain = corpus(COUNT, valid, false);
  const mine = ours(file, strings), ids = mine.map((m) => m.ids);

  if (Original) {
    const other = await Original.fromFile(file);
    const encoded = await Promise.all(strings.map((s) => other.encode(s, null, { addSpecialTokens: false })));
    check(`${v.name}, ids, original`, strings, ids, encoded.map((e) => Array.from(e.getIds())));
    const decoded = await Promise.all(encoded.map((e) => other.decode(Array.from(e.getIds()), false)));
    if (v.decodes) check(`${v.name}, text, original`, strings, mine.map((m, i) => m.text ?? decoded[i]), decoded);
  }

  if (v.script) {
    const script = new Script(v.json, v.config);
    check(`${v.name}, ids, script`, plain, ours(file, plain).map((m) => m.ids), plain.map((s) => Array.from(script.encode(s, { add_special_tokens: false }).ids)));
  }
  const gguf = convert(trireme, work, v);
  check(`${v.name}, ids, converted`, strings, ours(gguf, strings).map((m) => m.ids), ids);
}
if (failed) process.exit(1);
