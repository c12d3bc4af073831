// The records of runs, folded into runs, turns and calls. The same code reads the data of the page and the
// records that come while a run is followed.

/** A string of the data begins with this character where it is the number of a text. */
const REFERENCE = '\u0001';

/** The value with the texts that it refers to. */
function resolved(value, texts) {
  if (typeof value === 'string') {
    if (value[0] !== REFERENCE) return value;
    return value[1] === REFERENCE ? value.slice(1) : texts[Number(value.slice(1))];
  }
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) value[index] = resolved(value[index], texts);
  } else if (value !== null && typeof value === 'object') {
    for (const key of Object.keys(value)) value[key] = resolved(value[key], texts);
  }
  return value;
}

class Run {
  constructor(file, id, key) {
    Object.assign(this, {
      file,
      id,
      key,
      parent: null,
      depth: 0,
      started: null,
      ended: null,
      turns: [],
      byNumber: new Map(),
      children: [],
      calls: 0,
      from: 0,
      to: 0,
      used: {},
      version: 0,
      notes: [],
    });
  }

  turn(number, at) {
    let turn = this.byNumber.get(number);
    if (!turn) {
      turn = new Turn(this, number, at);
      this.byNumber.set(number, turn);
      this.turns.push(turn);
    }
    return turn;
  }

  get root() {
    return this.parent ? this.parent.run.root : this;
  }

  get isOver() {
    return this.ended !== null;
  }

  get status() {
    if (this.ended?.event === 'run_finished') return String(this.ended.status);
    if (this.ended) return 'failed';
    return this.file.isLive ? 'running' : 'cut';
  }

  get isGood() {
    return this.status === 'submitted' || this.status === 'answered';
  }

  get title() {
    const { started } = this;
    return (
      started?.label ||
      firstLine(this.parent?.prompt ?? started?.signature?.instructions ?? '', 120) ||
      signatureText(started?.signature) ||
      `run ${this.id}`
    );
  }
}

class Turn {
  constructor(run, number, at) {
    Object.assign(this, {
      run,
      number,
      from: at,
      to: at,
      tries: [],
      cells: [],
      calls: [],
      byCall: new Map(),
      messages: [],
      notes: [],
      used: {},
      version: 0,
      refused: null,
    });
  }

  get cell() {
    return this.cells[this.cells.length - 1] ?? null;
  }

  get key() {
    return `turn-${this.number}`;
  }

  get reasoning() {
    return this.cell
      ? this.cell.reasoning
      : (this.tries.findLast((one) => one.text !== undefined)?.text ?? '');
  }

  get isWrong() {
    return Boolean(
      this.cell?.observation?.error ||
      this.cell?.observation?.session_ended ||
      this.cell?.observation?.interruption ||
      this.refused,
    );
  }
}

/** The runs of one record. */
class RunFile {
  constructor(index, name, isLive) {
    Object.assign(this, { index, name, isLive, runs: new Map(), roots: [], log: [], gone: [] });
    Object.assign(this, { records: 0, last: 0 });
  }

  run(id) {
    let run = this.runs.get(id);
    if (!run) {
      run = new Run(this, id, this.index ? `${this.index + 1}:${id}` : id);
      this.runs.set(id, run);
      this.roots.push(run);
    }
    return run;
  }

  /** Takes a record, or sets aside those that a run that was resumed did not go on from. */
  add(record) {
    const index = this.records;
    this.records += 1;
    if (record.event === 'run_resumed') this.setAside(record);
    this.read(record, index);
  }

  /** What came after so many records is set aside, of the run that says so and of those below it. */
  setAside({ run: id = '', records }) {
    const isBelow = (run) => run && (run.id === id || isBelow(run.parent?.run));
    const isAside = ({ record, index }) => index >= records && isBelow(this.runs.get(record.run ?? ''));
    const aside = this.log.filter(isAside);
    if (aside.length === 0) return;
    // What runs are above one is not known any more where its start is set aside too.
    const lineage = (run) => (run ? [run.id, ...lineage(run.parent?.run)] : []);
    for (const one of aside) {
      this.gone.push({ record: one.record, lineage: lineage(this.runs.get(one.record.run ?? '')) });
    }
    const log = this.log.filter((one) => !isAside(one));
    this.log.splice(0);
    this.runs.clear();
    this.roots.splice(0);
    for (const one of log) this.read(one.record, one.index);
    // What they used counts all the same, of the run that it is of and of those above it.
    for (const { record: gone, lineage } of this.gone) {
      const isModel = ['model_replied', 'model_call_failed', 'sub_call_finished'].includes(gone.event);
      if (!isModel) continue;
      const runs = lineage.map((id) => this.runs.get(id)).filter(Boolean);
      for (const run of runs) addUsage(run.used, gone.usage);
    }
  }

  read(record, index) {
    this.log.push({ record, index });
    const at = Number(record.at) || 0;
    const run = this.run(record.run ?? '');
    this.last = Math.max(this.last, at);
    const reader = READERS[record.event];
    run.version += 1;
    if (record.turn === undefined) {
      if (reader) reader(run, record, at);
      else run.notes.push({ kind: record.event, at, data: record });
    } else {
      const turn = run.turn(record.turn, at);
      turn.version += 1;
      if (reader) reader(turn, record, at);
      else turn.notes.push({ kind: record.event, at, data: record });
      if (record.event !== 'message_appended') turn.to = Math.max(turn.to, at);
    }
    for (let above = run; above; above = above.parent?.run) above.to = Math.max(above.to, at);
  }
}

function used(turn, usage) {
  addUsage(turn.used, usage);
  for (let run = turn.run; run;) {
    addUsage(run.used, usage);
    const call = run.parent;
    if (call) addUsage(call.turn.used, usage);
    run = call?.run;
  }
}

/** An exception that a cell gets, or a reason. */
function errorText(error) {
  return typeof error === 'string' ? error : `${error.type}: ${error.message}`;
}

function startCall(turn, record, at, call) {
  Object.assign(call, {
    number: record.call,
    run: turn.run,
    turn,
    from: at,
    to: null,
    result: undefined,
    error: null,
    used: {},
    failures: [],
  });
  turn.calls.push(call);
  turn.byCall.set(record.call, call);
  turn.run.calls += 1;
}

function endCall(turn, record, at) {
  const call = turn.byCall.get(record.call);
  if (!call) return null;
  call.to = at;
  call.seconds = record.seconds;
  const error = record.error ?? record.cancelled;
  if (error !== undefined) call.error = errorText(error);
  else call.result = record.result;
  return call;
}

/** What each event does: to its run, or to its turn if it names one. */
const READERS = {
  run_started(run, record, at) {
    run.started = record;
    run.from = at;
  },
  run_finished(run, record) {
    run.ended = record;
  },
  run_failed(run, record) {
    run.ended = record;
  },
  run_resumed(run, record, at) {
    run.ended = null;
    run.notes.push({ kind: record.event, at, data: record });
  },
  // Of no interest to a person: the calls themselves are shown, and a snapshot is a file beside the record.
  host_call_returned() {},
  session_saved() {},
  model_replied(turn, record, at) {
    const from = Math.max(0, at - record.seconds);
    turn.tries.push({ ...record, from, to: at });
    turn.from = Math.min(turn.from, from);
    used(turn, record.usage);
  },
  model_call_failed(turn, record, at) {
    const one = { ...record, from: Math.max(0, at - record.seconds), to: at };
    if (record.call === undefined) {
      turn.tries.push(one);
      turn.from = Math.min(turn.from, one.from);
    } else {
      const call = turn.byCall.get(record.call);
      call?.failures.push(one);
      if (call) addUsage(call.used, record.usage);
    }
    used(turn, record.usage);
  },
  message_appended(turn, record) {
    turn.messages.push(record.message);
  },
  reply_refused(turn, record) {
    turn.refused = record.problem;
  },
  submission_refused(turn, record) {
    turn.refused = record.problems;
  },
  cell_started(turn, record, at) {
    turn.refused = null;
    turn.cells.push({
      from: at,
      to: null,
      reasoning: record.reasoning,
      code: record.code,
      observation: null,
    });
  },
  cell_finished(turn, record, at) {
    const cell = turn.cell;
    if (cell) Object.assign(cell, { to: at, observation: record.observation, notes: record.notes ?? [] });
  },
  sub_call_started(turn, record, at) {
    startCall(turn, record, at, {
      kind: 'model',
      name: record.function,
      model: record.model,
      prompt: record.prompt,
      repairs: record.repairs,
    });
  },
  sub_call_finished(turn, record, at) {
    const call = endCall(turn, record, at);
    if (call) {
      call.answeredBy = record.answered_by;
      addUsage(call.used, record.usage);
    }
    used(turn, record.usage);
  },
  tool_call_started(turn, record, at) {
    startCall(turn, record, at, { kind: 'tool', name: record.tool, arguments: record.arguments });
  },
  tool_call_finished(turn, record, at) {
    endCall(turn, record, at);
  },
  child_started(turn, record, at) {
    const call = { kind: 'child', name: record.function, prompt: record.prompt };
    startCall(turn, record, at, call);
    const { file } = turn.run;
    const child = file.run(record.child);
    // A record that is wrong may name a run as its own child.
    if (child.parent || child === turn.run.root) return;
    file.roots.splice(file.roots.indexOf(child), 1);
    Object.assign(child, { parent: call, depth: turn.run.depth + 1, from: at });
    call.child = child;
    call.used = child.used;
    turn.run.children.push(child);
  },
  child_finished(turn, record, at) {
    endCall(turn, record, at);
  },
};

function signatureText(signature) {
  if (!signature) return '';
  const fields = (list) =>
    (list ?? []).map((field) => (field.type ? `${field.name}: ${field.type}` : field.name));
  return `${fields(signature.inputs).join(', ')} → ${fields(signature.outputs).join(', ')}`;
}

/** Sorted intervals without overlaps. Gaps under `gap` are closed. */
function union(intervals, gap = 0) {
  const sorted = intervals.filter(([from, to]) => to >= from).sort((a, b) => a[0] - b[0]);
  const merged = [];
  for (const [from, to] of sorted) {
    const last = merged[merged.length - 1];
    if (last && from <= last[1] + gap) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

function span(intervals) {
  return union(intervals).reduce((sum, [from, to]) => sum + to - from, 0);
}

/** The intervals of a turn: its model, its cells, and the host calls of these. An open one ends now. */
function intervals(turn) {
  const now = turn.run.file.last;
  const end = (to) => to ?? (turn.run.isOver ? turn.run.to : now);
  return {
    model: turn.tries.map((one) => [one.from, one.to]),
    cells: turn.cells.map((cell) => [cell.from, end(cell.to)]),
    calls: turn.calls.map((call) => [call.from, end(call.to)]),
  };
}

/** How long a turn spent in its model, in Python, and waiting for host calls. */
function turnSplit(turn) {
  const { model, cells, calls } = intervals(turn);
  const waited = span(calls);
  return { model: span(model), python: Math.max(0, span([...cells, ...calls]) - waited), calls: waited };
}

/** The same of a run; what is left of its time is `other`: sessions that start, pauses between tries. */
function runSplit(run) {
  const sum = { model: 0, python: 0, calls: 0 };
  for (const turn of run.turns) {
    const split = turnSplit(turn);
    for (const part of Object.keys(sum)) sum[part] += split[part];
  }
  const wall = run.to - run.from;
  return { ...sum, other: Math.max(0, wall - sum.model - sum.python - sum.calls), wall };
}

/** Turns that have a reply. */
function turnCount(run) {
  return run.turns.filter((turn) => turn.tries.some((one) => one.text !== undefined)).length;
}

/** Model calls that are not turns of this run: those of its cells, and all of its children. */
function subCalls(run) {
  let count = 0;
  for (const turn of run.turns) count += turn.calls.filter((call) => call.kind === 'model').length;
  return count + run.children.reduce((sum, child) => sum + subCalls(child) + turnCount(child), 0);
}

function descendants(run) {
  return run.children.reduce((sum, child) => sum + 1 + descendants(child), 0);
}
