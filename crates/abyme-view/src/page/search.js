// Search over everything that a record says.

/** More hits are not listed. */
const MOST_HITS = 2000;

/** Calls `visit(text, place, name, call)` for each text of a turn. */
function turnTexts(turn, visit) {
  const place = `${turn.run.key}/${turn.key}`;
  visit(turn.reasoning, `${place}/reasoning`, 'reply');
  for (const one of turn.tries) visit(one.reasoning, `${place}/thought/text`, 'thoughts');
  turn.cells.forEach((cell, index) => {
    const at = `${place}/cell-${index}`;
    visit(cell.code, `${at}/code`, 'code');
    const seen = cell.observation;
    if (!seen) return;
    for (const [text, part, name] of [
      [seen.stdout, 'output', 'output'],
      [seen.value, 'value', 'value'],
      [seen.stderr, 'stderr', 'stderr'],
    ]) {
      visit(text?.head, `${at}/${part}`, name);
      visit(text?.tail, `${at}/${part}/tail`, name);
    }
    visit(seen.error && `${seen.error.type}: ${seen.error.message}`, `${at}/error`, 'exception');
    if (seen.submission) visit(JSON.stringify(seen.submission), `${place}/submission`, 'submission');
  });
  visit(turn.refused, `${place}/refused`, 'refused');
  turn.calls.forEach((call, index) => {
    const at = `${place}/call-${call.number}`;
    const name = `call ${call.number}`;
    visit(call.prompt, `${at}/prompt`, `${name}, prompt`, index);
    if (call.arguments) visit(JSON.stringify(call.arguments), `${at}/arguments`, `${name}, arguments`, index);
    if (call.result !== undefined && call.result !== null) {
      visit(shownValue(call.result), `${at}/result`, `${name}, reply`, index);
    }
    visit(call.error, `${at}/error`, `${name}, error`, index);
  });
}

/** Where the words are found, in the order of the runs. */
function search(words, roots) {
  const hits = [];
  const pattern = searchPattern(words);
  if (!pattern) return hits;
  const look = (run, key, turn) => (text, place, name, call) => {
    if (!text || hits.length >= MOST_HITS) return;
    pattern.lastIndex = 0;
    const found = pattern.exec(text);
    if (found)
      hits.push({ run, turn, key, place, name, call, text, at: found.index, length: found[0].length });
  };
  const walk = (run) => {
    const { started, ended } = run;
    const task = look(run, 'task', null);
    task(run.parent?.prompt ?? started?.signature?.instructions, `${run.key}/task/asked`, 'task');
    for (const turn of run.turns) {
      turnTexts(turn, look(run, turn.key, turn));
      for (const call of turn.calls) if (call.child) walk(call.child);
    }
    if (ended?.outputs)
      look(run, 'end', null)(shownValue(ended.outputs), `${run.key}/end/outputs`, 'outputs');
    if (ended?.error) look(run, 'end', null)(ended.error, `${run.key}/end/error`, 'failure');
  };
  roots.forEach(walk);
  return hits;
}

function searchPattern(words) {
  const quoted = words.trim().replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return quoted ? new RegExp(quoted, 'giu') : null;
}

function hitRow(hit, isCurrent, view) {
  const before = hit.text.slice(Math.max(0, hit.at - 24), hit.at).replace(/\s+/g, ' ');
  const found = hit.text.slice(hit.at, hit.at + hit.length);
  const after = hit.text.slice(hit.at + hit.length, hit.at + hit.length + 90).replace(/\s+/g, ' ');
  const where = hit.turn ? `${hit.run.parent ? '↳ ' : ''}turn ${hit.turn.number}, ${hit.name}` : hit.name;
  return h(
    'a.row.hit',
    {
      href: view.link(hit.run, hit.key),
      'aria-current': isCurrent && 'true',
      onclick: (event) => {
        event.preventDefault();
        view.showHit(hit);
      },
    },
    h('span.where', null, where),
    h('span.snippet', null, before, h('mark', null, found), after),
  );
}

/** Unfolds what hides a hit. */
function unfoldHit(hit) {
  const end = hit.at + hit.length;
  if (hit.name === 'code') unfolded.set(hit.place, true);
  else if (end > FOLD_CHARS || hit.text.slice(0, end).split('\n').length > FOLD_LINES) {
    unfolded.set(hit.place, Math.max(unfolded.get(hit.place) || 0, Math.ceil(end / STEP_CHARS) * STEP_CHARS));
  }
  if (hit.call !== undefined) openCalls.set(`${hit.run.key}/${hit.key}`, hit.call);
}

/** Marks what is found, without touching the document. */
function markFound(words, within) {
  if (!globalThis.CSS?.highlights) return;
  CSS.highlights.delete('found');
  const pattern = searchPattern(words);
  if (!pattern) return;
  const ranges = [];
  const texts = document.createTreeWalker(within, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node && ranges.length < MOST_HITS; node = texts.nextNode()) {
    for (const found of node.data.slice(0, STEP_CHARS).matchAll(pattern)) {
      const range = new Range();
      range.setStart(node, found.index);
      range.setEnd(node, found.index + found[0].length);
      ranges.push(range);
    }
  }
  CSS.highlights.set('found', new Highlight(...ranges));
}
