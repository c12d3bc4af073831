// What a run was asked, and how it ended.

function taskSection(run, view) {
  const { started, parent } = run;
  const section = h('section.task', { 'data-key': 'task', 'aria-label': 'Task' });
  const place = `${run.key}/task`;
  if (parent) {
    section.append(
      h(
        'p.crumbs',
        null,
        'A child of ',
        h(
          'a',
          { href: view.link(parent.run, `${parent.turn.key}/call-${parent.number}`) },
          `turn ${parent.turn.number}, call ${parent.number}`,
        ),
        parent.run.parent ? ' of a child' : '',
      ),
    );
  }
  if (started?.forked_from) {
    const { run: origin, turn } = started.forked_from;
    section.append(h('p.crumbs', null, `A fork of the run ${origin} after its turn ${turn}.`));
  }
  if (!started) {
    section.append(
      h('h2', null, 'Task'),
      h('p.note', null, 'The record does not hold the beginning of this run.'),
    );
    return section;
  }
  const { signature, inputs, limits } = started;
  section.append(h('h2', null, h('a', { href: view.link(run, 'task') }, 'Task')));
  const asked = parent?.prompt ?? signature.instructions;
  if (asked)
    section.append(
      h(
        'div.prose',
        null,
        folded(asked, `${place}/asked`, { lines: 24, className: '.wrap', label: 'Instructions' }),
      ),
    );
  const lengths = new Map(inputs.map((input) => [input.name, input]));
  const field = (way, one) =>
    h(
      'tr',
      null,
      h('td.way', null, way),
      h('th', { scope: 'row' }, one.name),
      h('td', null, one.type ?? lengths.get(one.name)?.type ?? 'any'),
      h('td.amount', null, lengths.get(one.name)?.len == null ? '' : whole.format(lengths.get(one.name).len)),
      h('td.said', null, one.description ?? one.desc ?? ''),
    );
  section.append(
    h(
      'table.signature',
      null,
      h('caption', null, 'Inputs and outputs'),
      h(
        'tbody',
        null,
        signature.inputs.map((one) => field('in', one)),
        signature.outputs.map((one) => field('out', one)),
      ),
    ),
  );
  const chosen = [
    ['model', started.model],
    ['sub-model', started.sub_model],
    ['interpreter', started.interpreter],
    ['started', started.unix_ms && new Date(started.unix_ms).toLocaleString()],
    ['abyme', started.abyme],
    ['run', run.id],
  ];
  const bounds = Object.entries(limits ?? {}).filter(([, value]) => value !== null);
  section.append(
    h(
      'dl.inline',
      null,
      chosen
        .filter(([, value]) => value)
        .map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))),
    ),
  );
  section.append(
    h(
      'div.raw',
      null,
      inputs
        .filter((input) => input.shown)
        .map((input) =>
          details(`${place}/input-${input.name}`, `Input ${input.name}, its beginning`, () =>
            folded(input.shown, `${place}/input-${input.name}/text`, {
              className: '.wrap',
              label: input.name,
            }),
          ),
        ),
      started.tools?.length &&
        details(`${place}/tools`, plural(started.tools.length, 'tool'), () =>
          folded(
            started.tools.map((tool) => `${tool.name}: ${firstLine(tool.doc ?? '')}`).join('\n'),
            `${place}/tools/text`,
            { className: '.wrap', label: 'Tools' },
          ),
        ),
      details(`${place}/limits`, 'Limits', () =>
        h(
          'dl.inline',
          null,
          bounds.map(([name, value]) =>
            h('div', null, h('dt', null, name.replaceAll('_', ' ')), h('dd', null, String(value))),
          ),
        ),
      ),
      (started.messages ?? []).map((message, index) =>
        details(
          `${place}/message-${index}`,
          `First messages, ${message.role} (${short(message.content.length)} characters)`,
          () =>
            folded(message.content, `${place}/message-${index}/text`, {
              lines: 80,
              className: '.wrap',
              label: `Message of the ${message.role}`,
            }),
        ),
      ),
    ),
  );
  run.notes.forEach((note) => section.append(noteLine(note, place)));
  return section;
}

function endSection(run, view) {
  const { ended } = run;
  const place = `${run.key}/end`;
  const section = h(
    'section.end',
    { 'data-key': 'end', 'aria-label': 'End' },
    h('h2', null, h('a', { href: view.link(run, 'end') }, ended ? 'Outcome' : 'So far'), statusBadge(run)),
  );
  if (ended?.outputs) section.append(fieldList(ended.outputs, `${place}/outputs`));
  if (ended?.error) section.append(h('p.error', null, ended.error));
  if (!ended && !run.file.isLive) {
    section.append(
      h('p.note', null, 'The record ends before the run does: its process was killed, or is still at work.'),
    );
  }
  section.append(usageTable(run));
  return section;
}

function statusBadge(run) {
  const kind = run.isGood
    ? 'good'
    : run.status === 'running'
      ? 'live'
      : run.status === 'failed'
        ? 'bad'
        : 'odd';
  return h(`span.badge.${kind}`, null, run.status === 'cut' ? 'unfinished' : run.status.replaceAll('_', ' '));
}

/** Tokens and cost by model and depth. */
function usageTable(run) {
  const [byModel, byDepth] = [new Map(), new Map()];
  const add = (map, key, usage) => map.set(key, addUsage(map.get(key) ?? {}, usage));
  const walk = (one) => {
    for (const turn of one.turns) {
      for (const call of turn.tries) {
        add(byModel, call.model ?? one.started?.model ?? '?', call.usage);
        add(byDepth, `depth ${one.depth}`, call.usage);
      }
      for (const call of turn.calls) {
        if (call.kind !== 'model') continue;
        add(byModel, call.model, call.used);
        add(byDepth, `depth ${one.depth}`, call.used);
      }
    }
    one.children.forEach(walk);
  };
  walk(run);
  const columns = [
    ['calls', 'calls'],
    ['input_tokens', 'input'],
    ['cached_tokens', 'cached'],
    ['output_tokens', 'output'],
    ['reasoning_tokens', 'reasoning'],
  ];
  const row = ([name, usage], kind) =>
    h(
      `tr.${kind}`,
      null,
      h('th', { scope: 'row' }, name),
      columns.map(([key]) => h('td', null, usage[key] === undefined ? '–' : whole.format(usage[key]))),
      h('td', null, dollars(usage.cost) ?? '–'),
    );
  const scroller = h(
    'div.wide',
    { tabindex: '0', role: 'group', 'aria-label': 'What was used' },
    h(
      'table.usage',
      null,
      h('caption', null, 'What was used'),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          h('td'),
          columns.map(([, name]) => h('th', { scope: 'col' }, name)),
          h('th', { scope: 'col' }, 'cost'),
        ),
      ),
      h(
        'tbody',
        null,
        [...byModel].map((one) => row(one, 'model')),
        byDepth.size > 1 ? [...byDepth].map((one) => row(one, 'depth')) : null,
        row(['in all', run.used], 'sum'),
      ),
    ),
  );
  return scroller;
}
