// The outline: the tree of runs and their turns, each with its time.

const ROW_HEIGHT = 28;

/** The rows of the outline: of each run on the way to the one that is read, its turns and children. */
function outlineRows(roots, current, compared) {
  const open = new Set(compared);
  for (let run = current; run; run = run.parent?.run) open.add(run);
  const rows = [];
  const walk = (run, level) => {
    rows.push({ kind: 'run', run, level });
    if (!open.has(run)) return;
    for (const turn of run.turns) {
      rows.push({ kind: 'turn', run, turn, level: level + 1 });
      for (const call of turn.calls) if (call.child) walk(call.child, level + 2);
    }
    if (run.isOver) rows.push({ kind: 'end', run, level: level + 1 });
  };
  roots.forEach((root) => walk(root, 0));
  return rows;
}

/** The bars of a turn or a run on its axis. */
function lane(row, scale) {
  const { run, turn } = row;
  const element = h('span.lane', { 'aria-hidden': 'true' });
  const total = scale.to - scale.from || 1;
  const shift = scale.isAligned && turn ? turn.from : scale.from;
  const bar = (kind, [from, to]) => {
    const piece = h(`span.bar.${kind}`);
    piece.style.left = `${(100 * (from - shift)) / total}%`;
    piece.style.width = `${(100 * (to - from)) / total}%`;
    element.append(piece);
  };
  if (row.kind === 'run') bar('whole', scale.isAligned ? [shift, shift] : [run.from, run.to]);
  if (row.kind === 'turn') {
    const { model, cells, calls } = intervals(turn);
    const gap = total / 400;
    union(model, gap).forEach((one) => bar('model', one));
    union(cells, gap).forEach((one) => bar('python', one));
    union(calls, gap).forEach((one) => bar('calls', one));
  }
  return element;
}

function outlineRow(row, scale, isCurrent, view) {
  const { run, turn } = row;
  const wrong = turn?.isWrong ? '.wrong' : '';
  const href = view.link(run, row.kind === 'run' ? 'task' : row.kind === 'turn' ? turn.key : 'end');
  let label;
  let facts = '';
  if (row.kind === 'run') {
    label = run.parent ? firstLine(run.title, 60) : run.file.name || 'Task';
    facts = run.parent ? duration(run.to - run.from) : '';
  } else if (row.kind === 'turn') {
    const { seconds } = rowTime(turn);
    label = [h('b', null, turn.number), firstLine(turn.reasoning || turn.cell?.code, 60)];
    facts = [
      turn.calls.length
        ? h('span.count', { title: callSummary(turn.calls) }, short(turn.calls.length))
        : null,
      duration(seconds),
    ];
  } else {
    label = run.status;
  }
  const element = h(
    `a.row.${row.kind}${wrong}`,
    { href, 'aria-current': isCurrent && 'true' },
    h('span.label', null, label),
    lane(row, scale),
    h('span.time', null, facts),
  );
  element.style.setProperty('--level', row.level);
  return element;
}

function rowTime(turn) {
  const split = turnSplit(turn);
  return { seconds: split.model + split.python + split.calls };
}

/** The axis of a run: its whole time, or the time of its longest turn. */
function scaleOf(roots, isAligned) {
  if (!isAligned) {
    return {
      from: Math.min(...roots.map((run) => run.from)),
      to: Math.max(...roots.map((run) => run.to)),
      isAligned,
    };
  }
  let longest = 0;
  const walk = (run) => {
    for (const turn of run.turns) longest = Math.max(longest, turn.to - turn.from);
    run.children.forEach(walk);
  };
  roots.forEach(walk);
  return { from: 0, to: longest, isAligned };
}

/** Round times on the axis, about four. */
function ticks(scale) {
  const total = scale.to - scale.from;
  if (!(total > 0)) return [];
  const rough = total / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const marks = [];
  for (let at = step; at < total * 0.86; at += step) marks.push(at);
  return marks.map((at) => ({ at: at / total, text: duration(at) }));
}
