// Elements and figures. Texts of a run become text nodes only: nothing here parses markup.

/** An element with properties and children; a text child is a text node, and `null` is none. */
function h(tag, props, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name || 'div');
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

const ICON = 'http://www.w3.org/2000/svg';

/** An icon of one path in a box of 16 by 16. */
function icon(path) {
  const svg = document.createElementNS(ICON, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(ICON, 'path');
  shape.setAttribute('d', path);
  svg.append(shape);
  return svg;
}

const whole = new Intl.NumberFormat('en-US');

/** 950, 12.3k, 4.56M: three digits that count. */
function short(count) {
  if (count === null || count === undefined) return '–';
  for (const [unit, letter] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ]) {
    if (count >= unit * 0.9995) {
      const value = count / unit;
      return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0).replace(/\.0+$/, '') + letter;
    }
  }
  return String(count);
}

/** 3 ms, 1.2 s, 4 min 05 s, 2 h 10 min. */
function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  if (seconds < 0.0005) return '0 ms';
  if (seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const rounded = Math.round(seconds);
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${String(rounded % 60).padStart(2, '0')} s`;
  return `${Math.floor(rounded / 3600)} h ${String(Math.floor((rounded % 3600) / 60)).padStart(2, '0')} min`;
}

function dollars(cost) {
  if (cost === null || cost === undefined) return null;
  if (cost === 0) return '$0';
  return (
    '$' +
    (cost >= 1
      ? cost.toFixed(2)
      : cost >= 0.1
        ? cost.toFixed(3)
        : cost >= 0.0001
          ? cost.toFixed(4)
          : cost.toPrecision(2))
  );
}

function plural(count, one, many = `${one}s`) {
  return `${whole.format(count)} ${count === 1 ? one : many}`;
}

/** The first line that says something, for a row. */
function firstLine(text, most = 160) {
  const line =
    String(text ?? '')
      .slice(0, 2000)
      .split('\n')
      .find((line) => line.trim()) ?? '';
  return line.length > most ? `${line.trim().slice(0, most)}…` : line.trim();
}

/** A value of Python as a person reads it. */
function shownValue(value) {
  if (typeof value === 'string') return value;
  return JSON.stringify(plainValue(value), null, 2);
}

/** A value without the tags by which the record keeps what JSON loses. */
function plainValue(value) {
  if (Array.isArray(value)) return value.map(plainValue);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value);
  if (entries.length === 1) {
    const [tag, inside] = entries[0];
    if (tag === '$int' || tag === '$float') return String(inside);
    if (tag === '$bytes') return `bytes in base64: ${inside}`;
    if (tag === '$dict' && Array.isArray(inside)) {
      return Object.fromEntries(inside.map(([key, value]) => [key, plainValue(value)]));
    }
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, plainValue(value)]));
}

/** Tokens and cost on one line. */
function usageFacts(usage) {
  if (!usage) return [];
  const facts = [];
  if (usage.input_tokens !== undefined) {
    facts.push(
      fact(`${short(usage.input_tokens)} in`, `${whole.format(usage.input_tokens)} tokens of requests`),
    );
  }
  if (usage.cached_tokens) {
    facts.push(
      fact(
        `${short(usage.cached_tokens)} cached`,
        `${whole.format(usage.cached_tokens)} of them from the provider's cache`,
      ),
    );
  }
  if (usage.cache_write_tokens) {
    facts.push(
      fact(
        `${short(usage.cache_write_tokens)} written`,
        `${whole.format(usage.cache_write_tokens)} of them written into the provider's cache`,
      ),
    );
  }
  if (usage.output_tokens !== undefined) {
    facts.push(
      fact(`${short(usage.output_tokens)} out`, `${whole.format(usage.output_tokens)} tokens of replies`),
    );
  }
  if (usage.reasoning_tokens) {
    facts.push(
      fact(
        `${short(usage.reasoning_tokens)} reasoning`,
        `${whole.format(usage.reasoning_tokens)} of them reasoning`,
      ),
    );
  }
  const cost = dollars(usage.cost);
  if (cost) facts.push(fact(cost, `US dollars: ${usage.cost}`));
  return facts;
}

function fact(text, title) {
  return h('span.fact', { title }, text);
}

function addUsage(sum, usage) {
  for (const [key, value] of Object.entries(usage ?? {})) {
    if (typeof value === 'number') sum[key] = (sum[key] ?? 0) + value;
  }
  return sum;
}
