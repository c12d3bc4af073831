// Two runs side by side: their figures, and turn beside turn.

/** Cells with more lines than this are not compared line by line. */
const MOST_LINES = 600;

/** For each line of both texts, whether the other one has it too, in order. */
function commonLines(left, right) {
  const [a, b] = [left.split('\n'), right.split('\n')];
  if (a.length > MOST_LINES || b.length > MOST_LINES) return null;
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const common = [new Set(), new Set()];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) {
      common[0].add((i += 1));
      common[1].add((j += 1));
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return common;
}

/** What two turns are compared by. */
function turnText(turn) {
  const { observation } = turn.cell ?? {};
  const { seconds, ...produced } = observation ?? {};
  return JSON.stringify([turn.reasoning, turn.cell?.code, produced]);
}

/** The number of the first turn in which the runs differ; `null` if there is none. */
function firstDifference(left, right) {
  const count = Math.max(left.turns.length, right.turns.length);
  for (let index = 0; index < count; index += 1) {
    const [one, other] = [left.turns[index], right.turns[index]];
    if (!one || !other || turnText(one) !== turnText(other)) return index + 1;
  }
  return null;
}

function comparisonKeys(runs) {
  const count = Math.max(...runs.map((run) => run.turns.length));
  return ['task', ...Array.from({ length: count }, (_, index) => `turn-${index + 1}`), 'end'];
}

function comparisonSection(key, runs, view) {
  if (key === 'task') return comparedFigures(runs, view);
  const section = h(`section.compared.${key === 'end' ? 'end' : 'turn'}`, {
    'data-key': key,
    'aria-label': key,
  });
  const halves = runs.map((run) => {
    if (key === 'end') return endSection(run, view);
    const turn = run.byNumber.get(Number(key.slice(5)));
    return turn
      ? turnSection(turn, view)
      : h('section.turn', null, h('p.quiet', null, 'This run has no such turn.'));
  });
  halves.forEach((half, side) => {
    half.removeAttribute('data-key');
    half.setAttribute('aria-label', `${half.getAttribute('aria-label') ?? ''} of ${runs[side].file.name}`);
    section.append(h('div.half', null, half));
  });
  const turns = runs.map((run) => run.byNumber.get(Number(key.slice(5))));
  if (turns.every((turn) => turn?.cell?.code))
    markLines(
      halves,
      turns.map((turn) => turn.cell.code),
    );
  return section;
}

/** Lines that only one of the cells has stand out. */
function markLines(halves, codes) {
  const common = codes[0] === codes[1] ? null : commonLines(...codes);
  if (!common) return;
  halves.forEach((half, side) => {
    const cells = half.querySelectorAll('.code');
    const last = cells[cells.length - 1];
    last?.querySelectorAll('.line').forEach((line, index) => {
      if (!common[side].has(index + 1)) line.classList.add('only');
    });
  });
}

function comparedFigures(runs, view) {
  const section = h(
    'section.task',
    { 'data-key': 'task', 'aria-label': 'Comparison' },
    h('h2', null, 'Two runs'),
  );
  const difference = firstDifference(...runs);
  section.append(
    h(
      'p.prose',
      null,
      difference === null
        ? 'The runs are the same in every turn.'
        : difference === 1
          ? 'The runs differ from the first turn on.'
          : [
              `The runs are the same up to turn ${difference - 1}, and differ from `,
              h('a', { href: `#turn-${difference}` }, `turn ${difference}`),
              ' on.',
            ],
    ),
  );
  const splits = runs.map(runSplit);
  const used = (key) => (run) => run.used[key];
  const rows = [
    ['model', (run) => run.started?.model, null],
    ['status', (run) => run.status, null],
    ['turns', turnCount, whole.format],
    ['sub-calls', subCalls, whole.format],
    ['children', descendants, whole.format],
    ['wall time', (_, side) => splits[side].wall, duration],
    ['model time', (_, side) => splits[side].model, duration],
    ['Python time', (_, side) => splits[side].python, duration],
    ['call time', (_, side) => splits[side].calls, duration],
    ['tokens in', used('input_tokens'), short],
    ['cached', used('cached_tokens'), short],
    ['tokens out', used('output_tokens'), short],
    ['reasoning', used('reasoning_tokens'), short],
    ['cost', used('cost'), dollars],
  ];
  const shown = (value, format) =>
    value === undefined || value === null ? '–' : format ? format(value) : value;
  section.append(
    h(
      'div.wide',
      { tabindex: '0', role: 'group', 'aria-label': 'Figures of both runs' },
      h(
        'table.usage',
        null,
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            h('td'),
            runs.map((run) => h('th', { scope: 'col' }, run.file.name)),
            h('th', { scope: 'col' }, 'change'),
          ),
        ),
        h(
          'tbody',
          null,
          rows.map(([name, get, format]) => {
            const [a, b] = runs.map(get);
            const isChange = format && a > 0 && b !== undefined && a !== b;
            const change = isChange
              ? `${b > a ? '+' : '−'}${Math.abs(Math.round((100 * (b - a)) / a))} %`
              : '';
            return h(
              'tr',
              null,
              h('th', { scope: 'row' }, name),
              h('td', null, shown(a, format)),
              h('td', null, shown(b, format)),
              h('td.quiet', null, change),
            );
          }),
        ),
      ),
    ),
  );
  runs.forEach((run) =>
    section.append(
      details(`${run.key}/compared`, `The task of ${run.file.name}`, () => {
        const task = taskSection(run, view);
        task.removeAttribute('data-key');
        return task;
      }),
    ),
  );
  return section;
}
