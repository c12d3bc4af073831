// A turn as a person reads it: what the model thought, its cell, what that produced, and what it called.

/** Lines and characters of a text that are shown before it is unfolded. */
const FOLD_LINES = 14;
const FOLD_CHARS = 1600;
/** Characters that one click unfolds: a browser lays out a text of this size at once. */
const STEP_CHARS = 200_000;

/** What the reader unfolded, by its place. */
const unfolded = new Map();

/** A text, folded where it is long. `place` is what the page remembers it by. */
function folded(text, place, { lines = FOLD_LINES, className = '', total = null, label = 'Text' } = {}) {
  text = String(text ?? '');
  const box = h('div.folded');
  const show = () => {
    const most = unfolded.get(place) ?? 0;
    let shown = most ? text.slice(0, most) : text.slice(0, FOLD_CHARS);
    if (!most) {
      const parts = shown.split('\n');
      if (parts.length > lines + 2) shown = parts.slice(0, lines).join('\n');
    }
    const isWhole = shown.length === text.length;
    const pre = h(`pre.text${className}`, { tabindex: '0', role: 'group', 'aria-label': label }, shown);
    box.replaceChildren(pre);
    if (!isWhole) {
      pre.classList.add('more');
      const rest = total ?? text.length;
      const what = most
        ? `Show more of ${short(text.length)} characters`
        : `Show all ${short(rest)} characters`;
      box.append(h('button.unfold', { onclick: () => unfold(most + STEP_CHARS) }, what));
    } else if (most) {
      box.append(h('button.unfold', { onclick: () => unfold(0) }, 'Show less'));
    }
  };
  const unfold = (most) => {
    unfolded.set(place, most);
    show();
  };
  show();
  return box;
}

/** A text whose middle the session left out. */
function captured(text, place, options) {
  if (!text) return null;
  if (!text.omitted_chars) return folded(text.head, place, options);
  const [omitted, total] = [text.omitted_chars, text.total_chars].map((count) => whole.format(count));
  const gap = `${omitted} of ${total} characters were not kept`;
  return [
    folded(text.head, place, options),
    h('p.gone', null, gap),
    folded(text.tail, `${place}/tail`, { ...options, label: `${options.label}, end` }),
  ];
}

/** Something that opens: `build` makes what is in it when it is first opened. */
function details(place, summary, build, isOpen = false) {
  const inside = h('div.inside');
  const element = h('details', null, h('summary', null, summary), inside);
  const fill = () => {
    if (element.open && !inside.childNodes.length) append(inside, [build()]);
  };
  element.addEventListener('toggle', () => {
    unfolded.set(place, element.open);
    fill();
  });
  element.open = unfolded.get(place) ?? isOpen;
  fill();
  return element;
}

function block(name, ...content) {
  return h('div.block', null, h('h3', null, name), content);
}

/** The share of each kind of time, as one bar. */
function splitBar(split, total) {
  const bar = h('span.split', { 'aria-hidden': 'true' });
  for (const part of ['model', 'python', 'calls', 'other']) {
    if (!split[part] || !total) continue;
    const piece = h(`span.${part}`);
    piece.style.width = `${(100 * split[part]) / total}%`;
    bar.append(piece);
  }
  return bar;
}

const PARTS = { model: 'model', python: 'Python', calls: 'calls', other: 'other' };

function splitFacts(split) {
  return Object.entries(PARTS)
    .filter(([part]) => split[part] >= 0.0005)
    .map(([part, name]) => h('span.fact', null, h(`i.dot.${part}`), `${name} ${duration(split[part])}`));
}

function turnSection(turn, view) {
  const place = `${turn.run.key}/${turn.key}`;
  const split = turnSplit(turn);
  const section = h('section.turn', { 'data-key': turn.key, 'aria-label': `Turn ${turn.number}` });
  const seconds = split.model + split.python + split.calls;
  append(section, [
    h(
      'header',
      null,
      h('h2', null, h('a', { href: view.link(turn.run, turn.key) }, `Turn ${turn.number}`)),
      splitBar(split, seconds),
      h('span.facts', null, splitFacts(split)),
      h('span.facts.right', null, usageFacts(turn.used)),
    ),
  ]);
  for (const one of turn.tries) if (one.error !== undefined) section.append(failedTry(one));
  const thought = turn.tries.findLast((one) => one.reasoning)?.reasoning;
  if (thought) {
    section.append(
      details(`${place}/thought`, `What the model thought (${short(thought.length)} characters)`, () =>
        folded(thought, `${place}/thought/text`, { lines: 40, className: '.wrap', label: 'Thoughts' }),
      ),
    );
  }
  if (turn.reasoning.trim())
    section.append(
      h(
        'div.prose',
        null,
        folded(turn.reasoning.trim(), `${place}/reasoning`, {
          lines: 24,
          className: '.wrap',
          label: 'What the model wrote',
        }),
      ),
    );
  turn.cells.forEach((cell, index) => {
    const at = `${place}/cell-${index}`;
    const isRepaired = index < turn.cells.length - 1;
    const shown = [code(cell, at), outputs(cell, at)];
    section.append(isRepaired ? details(at, 'A cell that was repaired', () => shown) : h('div', null, shown));
  });
  if (turn.refused) {
    section.append(
      h(
        'div.block.wrong',
        null,
        h('h3', null, 'Refused'),
        folded(turn.refused, `${place}/refused`, { className: '.wrap', label: 'Why it was refused' }),
      ),
    );
  }
  if (turn.calls.length) section.append(callList(turn, view));
  for (const note of turn.notes) section.append(noteLine(note, place));
  const last = turn.tries.findLast((one) => one.text !== undefined);
  const messages = turn.messages.filter((message) => message.role !== 'assistant');
  if (last || messages.length) {
    section.append(
      h(
        'div.raw',
        null,
        messages.map((message, index) =>
          details(
            `${place}/message-${index}`,
            `What the model read (${short(message.content.length)} characters)`,
            () =>
              folded(message.content, `${place}/message-${index}/text`, {
                lines: 60,
                className: '.wrap',
                label: 'Message',
              }),
          ),
        ),
        turn.tries
          .filter((one) => one.text !== undefined)
          .map((one, index) =>
            details(
              `${place}/reply-${index}`,
              [
                `Its ${one.purpose === 'act' ? '' : `${one.purpose} `}reply as it came`,
                h(
                  'span.facts',
                  null,
                  h('span.fact', null, duration(one.seconds)),
                  usageFacts(one.usage),
                  one.stopped && fact('stopped', 'The reply was stopped when its cell was complete'),
                ),
              ],
              () => [
                folded(one.text, `${place}/reply-${index}/text`, {
                  lines: 60,
                  className: '.wrap',
                  label: 'Reply',
                }),
                one.native_call &&
                  folded(JSON.stringify(one.native_call, null, 2), `${place}/native-${index}`, {
                    label: 'Function that the model called',
                  }),
                h('p.quiet', null, `finish reason: ${one.finish_reason}`),
              ],
            ),
          ),
      ),
    );
  }
  if (!turn.cells.length && !last) section.append(h('p.quiet', null, 'No reply yet.'));
  return section;
}

function code(cell, place) {
  if (!cell.code) return null;
  const error = cell.observation?.error;
  const total = cell.code.split('\n').length;
  const isLong = total > 60 && !unfolded.get(`${place}/code`);
  const shown = isLong ? cell.code.split('\n').slice(0, 50).join('\n') : cell.code;
  const box = h(
    'div.cell',
    null,
    codeBlock(shown, (line) => (error?.line === line ? 'wrong' : '')),
  );
  if (isLong) {
    const button = h(
      'button.unfold',
      {
        onclick: () => {
          unfolded.set(`${place}/code`, true);
          box.replaceWith(code(cell, place));
        },
      },
      `Show all ${total} lines`,
    );
    box.append(button);
  }
  return box;
}

function outputs(cell, place) {
  const seen = cell.observation;
  if (!seen) return h('p.quiet.running', null, 'The cell is running.');
  const parts = [];
  const stream = (name, text, label, className = '') =>
    text?.total_chars && parts.push(block(name, captured(text, `${place}/${label}`, { label, className })));
  stream('Output', seen.stdout, 'output');
  stream('Value', seen.value, 'value');
  stream('stderr', seen.stderr, 'stderr', '.faint');
  if (seen.error) {
    const { type, message, traceback, stage } = seen.error;
    const when = { compile: ' before it ran', policy: ' by the policy', scope: ' in the tools' }[stage] ?? '';
    parts.push(
      h(
        'div.block.wrong',
        null,
        h('h3', null, `Exception${when}`),
        h('p.error', null, h('b', null, type), message && `: ${firstLine(message, 1000)}`),
        traceback &&
          details(`${place}/traceback`, 'Traceback', () =>
            folded(traceback, `${place}/traceback/text`, { lines: 60, label: 'Traceback' }),
          ),
      ),
    );
  }
  for (const [name, why] of [
    ['Session lost', seen.session_ended],
    ['Session put back', seen.restored],
  ]) {
    if (why) parts.push(h('div.block.wrong', null, h('h3', null, name), h('p', null, why)));
  }
  if (seen.interruption) {
    parts.push(
      h(
        'div.block.wrong',
        null,
        h('h3', null, 'Time limit'),
        h('p', null, `the cell was ended: ${JSON.stringify(seen.interruption)}`),
      ),
    );
  }
  if (seen.submission) {
    const { via, fields, value } = seen.submission;
    parts.push(
      block(
        `Submitted by ${via}`,
        fields
          ? fieldList(fields, `${place}/submission`)
          : folded(shownValue(value), `${place}/submission`, { className: '.wrap', label: 'Submission' }),
      ),
    );
  }
  for (const note of cell.notes ?? []) parts.push(h('p.note', null, note));
  if (seen.changed?.length) {
    const more = (seen.changed_total ?? 0) - seen.changed.length;
    parts.push(
      h(
        'p.changed',
        null,
        seen.changed.map((one) =>
          h('span.chip', { title: one.type }, h('b', null, one.name), ` ${one.summary ?? one.type}`),
        ),
        more > 0 && h('span.chip', null, `${more} more`),
      ),
    );
  }
  return parts;
}

/** Values by name. */
function fieldList(fields, place) {
  return h(
    'dl.fields',
    null,
    Object.entries(fields).map(([name, value]) => [
      h('dt', null, name),
      h('dd', null, folded(shownValue(value), `${place}/${name}`, { className: '.wrap', label: name })),
    ]),
  );
}

function failedTry(one) {
  const again = one.retry_seconds === undefined ? '' : `; tried again after ${duration(one.retry_seconds)}`;
  return h(
    'p.note.wrong',
    null,
    h('b', null, 'Call failed '),
    `after ${duration(one.seconds)}${again}: ${one.error}`,
  );
}

/** An event that has no place of its own, those of newer versions among them. */
function noteLine(note, place) {
  const { event, run, at, turn, ...rest } = note.data;
  const name = String(event).replaceAll('_', ' ');
  const said = rest.reason ?? rest.error ?? '';
  const { reason, error, ...more } = rest;
  return h(
    'div.note',
    null,
    h('b', null, name.charAt(0).toUpperCase() + name.slice(1)),
    said && `: ${said}`,
    Object.keys(more).length
      ? details(`${place}/note-${note.at}-${event}`, 'Details', () =>
          folded(JSON.stringify(plainValue(more), null, 2), `${place}/note-${note.at}-${event}/text`, {
            lines: 30,
            className: '.wrap',
            label: name,
          }),
        )
      : null,
  );
}
