// Python's tokens, as far as colours need them. Code that is cut or wrong is coloured as far as it goes.

const KEYWORDS = new Set(
  (
    'False None True and as assert async await break class continue def del elif else except ' +
    'finally for from global if import in is lambda match nonlocal not or pass raise return try while with ' +
    'yield'
  ).split(' '),
);
const BUILTINS = new Set(
  (
    'abs all any bool bytes dict enumerate filter float format frozenset getattr hasattr hash ' +
    'int isinstance iter len list map max min next object open ord chr print range repr reversed round set ' +
    'setattr slice sorted str sum super tuple type vars zip Exception ValueError KeyError TypeError ' +
    'IndexError ' +
    'RuntimeError StopIteration'
  ).split(' '),
);
const HOST = new Set(
  'llm_query llm_query_batched rlm_query rlm_query_batched SUBMIT FINAL FINAL_VAR SHOW_VARS'.split(' '),
);
const NAME = /[\p{L}_][\p{L}\p{N}\p{M}_]*/uy;
const NUMBER = /(?:0[xXoObB][\da-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)[jJ]?/y;
const STRING = /[rRbBuUfFtT]{0,2}("""|'''|"|')/y;

/** Calls `emit(kind, text)` for each piece of the code, in order; together they are the code. */
function pythonTokens(code, emit) {
  let at = 0;
  let plain = 0;
  let previous = '';
  const token = (kind, end) => {
    if (plain < at) emit('', code.slice(plain, at));
    emit(kind, code.slice(at, end));
    at = plain = end;
  };
  const match = (pattern) => {
    pattern.lastIndex = at;
    return pattern.exec(code);
  };
  while (at < code.length) {
    const char = code[at];
    let found;
    if (char === '#') {
      const end = code.indexOf('\n', at);
      token('comment', end < 0 ? code.length : end);
    } else if (/[rRbBuUfFtT"']/.test(char) && (found = match(STRING))) {
      token('string', stringEnd(code, at + found[0].length, found[1]));
      previous = '';
    } else if (/[\d.]/.test(char) && (found = match(NUMBER))) {
      token('number', at + found[0].length);
      previous = '';
    } else if ((found = match(NAME))) {
      const name = found[0];
      const kind =
        previous === '.'
          ? ''
          : KEYWORDS.has(name)
            ? 'keyword'
            : previous === 'def' || previous === 'class'
              ? 'defined'
              : HOST.has(name)
                ? 'host'
                : BUILTINS.has(name)
                  ? 'builtin'
                  : '';
      if (kind) token(kind, at + name.length);
      else at += name.length;
      previous = name;
    } else {
      if (!/\s/.test(char)) previous = char;
      at += 1;
    }
  }
  if (plain < at) emit('', code.slice(plain));
}

/** Where a string ends that began before `at`. One quote alone ends at the end of its line. */
function stringEnd(code, at, quote) {
  for (; at < code.length; at += 1) {
    if (code[at] === '\\') at += 1;
    else if (code.startsWith(quote, at)) return at + quote.length;
    else if (quote.length === 1 && code[at] === '\n') return at;
  }
  return code.length;
}

/** The code as lines of coloured pieces. `mark(line)` gives a line's class. */
function codeBlock(code, mark) {
  const pre = h('pre.code', { tabindex: '0', 'aria-label': 'Python code', role: 'group' });
  let line;
  let number = 0;
  const next = () => {
    number += 1;
    line = h('span.line');
    const kind = mark?.(number);
    if (kind) line.classList.add(kind);
    pre.append(line);
  };
  next();
  pythonTokens(code, (kind, text) => {
    text.split('\n').forEach((piece, index) => {
      if (index) {
        line.append('\n');
        next();
      }
      if (piece) line.append(kind ? h(`span.${kind}`, null, piece) : document.createTextNode(piece));
    });
  });
  return pre;
}
