// The host calls of a turn: a list that may be very long, and the one that is looked at.

const CALL_HEIGHT = 30;
/** Shorter beginnings are not worth leaving out. */
const MIN_SHARED = 24;
/** Rows of calls that a turn shows before its list scrolls. */
const CALL_ROWS = 12;
/** The call that is open, by turn. */
const openCalls = new Map();

function callList(turn, view) {
  const place = `${turn.run.key}/${turn.key}`;
  const box = h('div.call-list');
  const scroller = h('div.scroll');
  const detail = h('div.detail');
  if (turn.calls.length > CALL_ROWS) {
    Object.entries({ tabindex: '0', role: 'group', 'aria-label': `Calls of turn ${turn.number}` }).forEach(
      ([name, value]) => scroller.setAttribute(name, value),
    );
  }
  scroller.style.height = `${Math.min(CALL_ROWS, turn.calls.length) * CALL_HEIGHT}px`;
  const { cells, calls } = intervals(turn);
  const from = Math.min(...[...cells, ...calls].map(([from]) => from).slice(0, 1), calls[0][0]);
  const to = calls.reduce(
    (most, [, to]) => Math.max(most, to),
    cells.reduce((most, [, to]) => Math.max(most, to), from),
  );
  const shared = sharedBeginning(turn.calls);
  const rows = new Rows(scroller, CALL_HEIGHT, (index) =>
    callRow(turn.calls[index], shared, calls[index], [from, to], openCalls.get(place) === index, () =>
      open(index),
    ),
  );
  const open = (index) => {
    openCalls.set(place, openCalls.get(place) === index ? null : index);
    show();
  };
  const show = () => {
    const index = openCalls.get(place);
    rows.set(turn.calls.length);
    const call = turn.calls[index];
    detail.replaceChildren(...(call ? [callDetail(call, place, view)] : []));
  };
  scroller.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const index = openCalls.get(place);
    if (!step || index === undefined || index === null || !turn.calls[index + step]) return;
    event.preventDefault();
    event.stopPropagation();
    openCalls.set(place, index + step);
    show();
    rows.reveal(index + step);
    scroller.querySelector('[aria-expanded=true]')?.focus();
  });
  append(box, [h('h3', null, callSummary(turn.calls)), scroller, detail]);
  show();
  // The list has no height until it is in the document.
  const index = openCalls.get(place);
  requestAnimationFrame(() => (index === undefined || index === null ? rows.show() : rows.reveal(index)));
  return box;
}

/** How many characters all prompts begin with alike: a batch differs behind them. */
function sharedBeginning(calls) {
  const prompts = calls.filter((call) => call.prompt).map((call) => call.prompt.slice(0, 2000));
  if (prompts.length < 2) return 0;
  let length = prompts[0].length;
  for (const prompt of prompts) {
    let at = 0;
    while (at < length && prompt[at] === prompts[0][at]) at += 1;
    length = at;
  }
  // From the beginning of a word on, and never all of a prompt.
  const words = prompts[0].slice(0, length).search(/\S*$/);
  return words < MIN_SHARED || prompts.some((prompt) => prompt.length <= words) ? 0 : words;
}

function restLine(prompt, shared) {
  return shared ? `… ${firstLine(prompt.slice(shared))}` : firstLine(prompt);
}

function callSummary(calls) {
  const kinds = [
    ['model', 'sub-call'],
    ['child', 'child', 'children'],
    ['tool', 'tool call'],
  ];
  const parts = kinds.map(([kind, ...names]) => [calls.filter((call) => call.kind === kind).length, names]);
  const failed = calls.filter((call) => call.error !== null).length;
  const shown = parts.filter(([count]) => count).map(([count, names]) => plural(count, ...names));
  return shown.join(', ') + (failed ? `, ${failed} failed` : '');
}

function callRow(call, shared, [from, to], [start, end], isOpen, onclick) {
  const bar = h(`span.bar.${call.kind}${call.error === null ? '' : '.wrong'}`);
  bar.style.left = `${(100 * (from - start)) / (end - start || 1)}%`;
  bar.style.width = `${(100 * (to - from)) / (end - start || 1)}%`;
  const said = call.kind === 'tool' ? toolText(call) : restLine(call.prompt, shared);
  const answer =
    call.error !== null ? call.error : call.to === null ? '…' : firstLine(shownValue(call.result), 80);
  return h(
    `button.row${call.error === null ? '' : '.wrong'}`,
    { onclick, 'aria-expanded': String(isOpen) },
    h('span.number', null, call.number),
    h('span.kind', null, { model: 'ask', child: 'child', tool: call.name }[call.kind]),
    h('span.said', null, said),
    h('span.answer', null, answer),
    h('span.lane', null, bar),
    h('span.time', null, duration(call.to === null ? null : to - from)),
  );
}

function toolText(call) {
  const one = ([name, value]) => `${name}=${firstLine(JSON.stringify(plainValue(value)), 60)}`;
  return `${call.name}(${Object.entries(call.arguments ?? {})
    .map(one)
    .join(', ')})`;
}

function callDetail(call, place, view) {
  const at = `${place}/call-${call.number}`;
  const isTool = call.kind === 'tool';
  const asked = isTool
    ? block('Arguments', fieldList(call.arguments ?? {}, `${at}/arguments`))
    : block(
        'Prompt',
        folded(call.prompt, `${at}/prompt`, { lines: 18, className: '.wrap', label: 'Prompt' }),
      );
  const answered =
    call.error !== null
      ? h(
          'div.block.wrong',
          null,
          h('h3', null, 'Failed'),
          folded(call.error, `${at}/error`, { className: '.wrap', label: 'Why it failed' }),
        )
      : call.to === null
        ? block(isTool ? 'Result' : 'Reply', h('p.quiet', null, 'None yet.'))
        : block(
            isTool ? 'Result' : 'Reply',
            folded(shownValue(call.result), `${at}/result`, {
              lines: 18,
              className: '.wrap',
              label: 'Reply',
            }),
          );
  return h(
    'article.call',
    null,
    h(
      'header',
      null,
      h('b', null, `${call.name} `),
      h('a', { href: view.link(call.run, `${call.turn.key}/call-${call.number}`) }, `call ${call.number}`),
      h(
        'span.facts',
        null,
        call.model && h('span.fact', null, call.model),
        h('span.fact', null, duration(call.to === null ? null : call.to - call.from)),
        usageFacts(call.used),
        call.repairs && h('span.fact', null, `corrects call ${call.repairs}`),
        call.answeredBy && h('span.fact', null, `answered by call ${call.answeredBy.call}`),
      ),
      call.child &&
        h(
          'a.open',
          { href: view.link(call.child, 'task') },
          `Open the child: ${plural(turnCount(call.child), 'turn')}`,
        ),
    ),
    call.failures.map(failedTry),
    h('div.pair', null, asked, answered),
  );
}
