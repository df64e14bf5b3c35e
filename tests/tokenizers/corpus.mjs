// SPDX-License-Identifier: MIT
// Strings that tokenizers find awkward, the same ones at every run.
import fs from 'node:fs';

const texts = [
  'Hello, world! It\'s 3 o\'clock; they\'re late, we\'ve 1,234,567.89 reasons and I\'LL say so.',
  'ÀÉÎÕÜ naïve café — “quotes” ‘single’ … «guillemets» ¿qué? ¡sí! Łódź Ærøskøbing straße ĲSSEL',
  'Съешь же ещё этих мягких французских булок, да выпей чаю. Їжак, ґанок, ў.',
  'Το κείμενο στα ελληνικά: ΑΒΓ αβγ ἀρχή ΐ ΰ.', 'שלום עולם — טֶקְסְט מְנֻקָּד', 'السلام عليكم، ١٢٣٤٥ و ۱۲۳۴۵ نَصٌّ مُشَكَّل',
  '東京都は日本の首都です。２０２４年、ｶﾀｶﾅ、ひらがな、漢字。', '我能吞下玻璃而不伤身体，價格是１２３元。', '안녕하세요 세계, 한국어 텍스트 ㄱㄴㄷ.',
  'हिन्दी में लिखा हुआ पाठ, १२३।', 'தமிழ் உரை', 'ภาษาไทยไม่มีช่องว่างระหว่างคำ ๑๒๓', 'ქართული ენა', 'Հայերեն լեզու', 'አማርኛ ፊደል',
  'Tiếng Việt có dấu: ế ề ể ễ ệ', 'e\u0301 o\u0302\u0301 a\u0323\u0302 \u1112\u1161\u11ab \u212b \u2126 \ufb01 \u0344',
  '😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪🇫🇷 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☎︎ 🫠', '𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 ⅫⅢ ½¼ ²³¹ ₁₂ ①②③ ㊿', 'x\u0300\u0301\u0302\u0303y ZALGO: h̷̢͝e̶̡͘ ͟͟c̸o̵m̴e̷s',
  'def f(x):\n    """doc"""\n\treturn {k: v for k, v in x.items() if v != 0x1F}  # ok\n\n\n',
  '#include <stdio.h>\r\nint main(void) {\r\n  printf("%d\\n", 1 << 3 | ~0);\r\n}\r\n',
  '<div class="a-b_c">&amp;&nbsp;{{ user.name|title }}</div>\n<!-- x --> $a[$i++] ?? `b` ~/.*@\\d{3,}', 'SELECT * FROM t WHERE a>=10 AND b<>\'x\';--',
  '   leading', 'trailing   ', '  two  and   three    blanks     ', '\t\ttabs\t \t mixed', 'a\n\nb\n \nc\r\n\r\nd\re\n', '\n\n\n', ' ', '\t', '', '  \n  ',
  'no\u00a0break\u2003em\u3000ideographic\u2028line\u2029para\u1680ogham\u202fnarrow\u180evowel', 'zero\u200bwidth\u200dj\u200cn\u2060w\u00ads',
  'a\u0000b\u0001\u0007\u0008\u001b[31mred\u001b[0m\u007f', '1 12 123 1234 12345 123456 1234567 3.14159 1e-10 0xDEADBEEF 007 1,2,3', ' 123 ²³ 4²5 ½1',
  '\'s \'S \'t\'re\'VE\'m\'Ll\'d it\'s IT\'S \'\'s don\'\'t rock\'n\'roll ‘s ’s', '!!!??? ... --- *** === $$$ ^^^ ~~~ ### @@@ %%% &&& +++ ||| <<<>>> ```',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '                                        x', '\u2581under\u2581bar\u2581\u2581two', ' \u2581 mixed \u2581',
  '<s>a</s> <unk> <s><s>[INST] x [/INST]</s>', '<|endoftext|> a<|endoftext|>b <|begin_of_text|><|eot_id|>\n<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>',
  '<|im_start|>system\nyou<|im_end|>\n<|im_start|>', '<|eot_id', '<|', '|>', '<0x0A> <0xFF>', '[MASK]a [MASK] b[MASK] [MASK]', 'the<ADD>the <ADD> the_<ADD>1',
  'supercalifragilisticexpialidocious antidisestablishmentarianism', 'CamelCaseWordsAndHTTPServerIDs snake_case_words kebab-case-words',
  'https://example.com/path?q=1&r=%20#frag user.name+tag@example.co.uk C:\\Windows\\System32', '\ufdfa\ufdfd ﷽ \ufffd \ufffc \ue000 \u{10ffff} \u{1f9ff}',
];
// Where the JavaScript implementation differs from the original by its language: \s, and no case folding of U+017F (long s).
const folded = ['bom\ufeffinside \ufeff', 'next\u0085line \u0085 x', 'long \'\u017f s, \'\u017f', 'K\u212a \'\u212a'];

function random(seed) { // mulberry32
  return (n) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

// Assigned since Unicode 5 at the latest, so that the libraries' versions of the tables don't matter.
const ranges = [[0x20, 0x7e], [0x20, 0x7e], [0x20, 0x7e], [0x09, 0x0d], [0xa0, 0xff], [0x100, 0x17e], [0x300, 0x34e], [0x391, 0x3a1], [0x410, 0x44f],
  [0x5d0, 0x5ea], [0x621, 0x63a], [0x660, 0x669], [0x904, 0x939], [0xe01, 0xe3a], [0x1100, 0x1159], [0x1e00, 0x1e9b], [0x2000, 0x200d],
  [0x2010, 0x2027], [0x2070, 0x2071], [0x20a0, 0x20b5], [0x2150, 0x2182], [0x2190, 0x21ff], [0x2460, 0x24ff], [0x2581, 0x2581], [0x3000, 0x303f],
  [0x3041, 0x3096], [0x30a1, 0x30fa], [0x4e00, 0x9fa5], [0xac00, 0xd7a3], [0xfb00, 0xfb06], [0xff01, 0xff5e], [0x1d400, 0x1d454], [0x1f300, 0x1f320],
  [0x1f600, 0x1f640]];

// At least `count` strings. `exotic`: also those that JavaScript reads otherwise.
export function corpus(count, valid, exotic, seed = 20) {
  const next = random(seed), out = [...texts], pick = (a) => a[next(a.length)];
  const base = exotic ? texts.concat(folded) : texts;
  const characters = base.map((t) => [...t]);
  const blanks = [' ', '  ', '\n', '\t', '\r\n', ' \n ', '\u00a0', '\u3000', ''];
  const lines = fs.readFileSync(valid, 'utf8').split('\n').filter((l) => l.length > 1);
  if (exotic) out.push(...folded);
  for (let i = 0; out.length < count; i++) {
    let s = '';
    if (i % 4 === 0) { // slices of the texts beside each other
      for (let k = 1 + next(5); k; k--) {
        const c = pick(characters), at = next(c.length + 1);
        s += c.slice(at, at + next(12)).join('') + pick(blanks);
      }
    } else if (i % 4 === 1) { // characters from everywhere
      for (let k = 1 + next(40); k; k--) {
        const [low, high] = pick(ranges), c = String.fromCodePoint(low + next(high - low + 1));
        s += c.repeat(next(8) ? 1 : 1 + next(20));
      }
    } else if (i % 4 === 2) { // prose
      for (let k = 1 + next(4); k; k--) s += pick(lines) + pick(['\n', ' ', '\n\n']);
    } else { // few characters in all orders
      const few = [...'a \n1.\'s'].concat([pick(pick(characters.filter((c) => c.length)))]);
      for (let k = 1 + next(30); k; k--) s += pick(few);
    }
    out.push(s);
  }
  return out;
}
