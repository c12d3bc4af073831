// The page: its data, its parts, its address, its keys, and what comes while a run is followed.

const SEARCH =
  'M7 2a5 5 0 1 0 3 9l3.5 3.5 1-1L11 10a5 5 0 0 0-4-8zm0 1.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7z';
const THEME = 'M8 1.5a6.5 6.5 0 1 0 0 13zm1 0v13a6.5 6.5 0 0 0 0-13z';
const LIST = 'M2 3.5h12V5H2zm0 3.75h8v1.5H2zM2 11h12v1.5H2z';
const KEYS = [
  ['j  k', 'next, previous turn'],
  ['[  ]', 'up to the parent, into the first child'],
  ['g  G', 'first, last section'],
  ['/', 'search'],
  ['n  N', 'next, previous hit'],
  ['a', 'align the bars at their turns, or by time'],
  ['t', 'light or dark'],
  ['Esc', 'close'],
  ['?', 'these keys'],
];

class Page {
  constructor(data) {
    const texts = data.texts ?? [];
    this.options = data.options ?? {};
    this.files = data.files.map((one, index) => {
      const file = new RunFile(index, one.name, Boolean(this.options.follow));
      for (const record of one.records) file.add(resolved(record, texts));
      file.notes = one.notes ?? [];
      return file;
    });
    const both = this.files.slice(0, 2);
    // A run that the page has no event of is compared with nothing.
    const isComparison = this.options.compare && both.every((file) => file.roots.length);
    this.compared = isComparison ? both.map((file) => file.roots[0]) : null;
    this.current = this.roots()[0] ?? null;
    this.hits = [];
    this.hit = -1;
    this.isAligned = this.roots().some((run) => run.turns.length > 60);
    this.build();
    this.route();
    addEventListener('hashchange', () => this.route());
    addEventListener('keydown', (event) => this.key(event));
    if (this.options.follow) this.follow();
  }

  roots() {
    return this.files.flatMap((file) => file.roots);
  }

  link(run, key) {
    return run === this.roots()[0] ? `#${key}` : `#${encodeURIComponent(run.key)}/${key}`;
  }

  build() {
    this.theme(stored('theme') ?? 'auto');
    this.input = h('input', {
      type: 'search',
      placeholder: 'Search',
      'aria-label': 'Search this record',
      spellcheck: 'false',
      autocomplete: 'off',
      oninput: () => this.searchSoon(),
    });
    this.found = h('output');
    const button = (name, path, act, more) =>
      h('button.icon', { title: name, 'aria-label': name, onclick: act, ...more }, icon(path));
    this.menu = button('Outline', LIST, () => document.body.classList.toggle('outlined'));
    this.menu.classList.add('menu');
    this.banner = h('div.facts');
    this.header = h(
      'header.top',
      null,
      h(
        'div.bar',
        null,
        this.menu,
        h('h1'),
        h('span.state'),
        h('label.search', null, icon(SEARCH), this.input, this.found),
        button('Light or dark (t)', THEME, () => this.nextTheme()),
        h(
          'button.icon',
          { title: 'Keys (?)', 'aria-label': 'Keys', onclick: () => this.help.showModal() },
          '?',
        ),
      ),
      this.banner,
    );
    this.list = h('div.list', { tabindex: '-1' });
    this.axis = h('button.axis', { onclick: () => this.align() }, h('span.label', null, 'time'));
    this.outline = h('nav.outline', { 'aria-label': 'Outline' }, this.axis, this.list);
    this.rows = new Rows(this.list, ROW_HEIGHT, (index) => this.row(index));
    this.document = h('main', { tabindex: '-1', 'aria-label': 'Turns' });
    this.flow = new Flow(this.document, (key) => this.section(key), 420);
    this.document.addEventListener('scroll', () => this.scrolled(), { passive: true });
    this.help = h(
      'dialog',
      { 'aria-label': 'Keys' },
      h('h2', null, 'Keys'),
      h(
        'dl.keys',
        null,
        KEYS.map(([keys, what]) => [
          h(
            'dt',
            null,
            keys.split('  ').map((one) => h('kbd', null, one)),
          ),
          h('dd', null, what),
        ]),
      ),
      h('form', { method: 'dialog' }, h('button', null, 'Close')),
    );
    append(document.body, [this.header, h('div.panes', null, this.outline, this.document), this.help]);
  }

  /** Everything anew from what is known. */
  render() {
    const root = this.current?.root ?? null;
    this.head(root);
    if (!this.current) {
      this.outlined = [];
      this.rows.set(0);
      this.document.replaceChildren(
        h('p.empty', null, this.options.follow ? 'Nothing is recorded yet.' : 'The record is empty.'),
      );
      return;
    }
    this.document.querySelector('.empty')?.remove();
    if (!this.flow.body.isConnected) this.document.append(this.flow.body);
    this.renderOutline();
    const run = this.current;
    const keys = this.compared
      ? comparisonKeys(this.compared)
      : ['task', ...run.turns.map((turn) => turn.key), ...(run.isOver || !run.file.isLive ? ['end'] : [])];
    this.flow.set(keys, (key) =>
      this.compared
        ? this.compared.map((one) => one.version).join()
        : `${key === 'task' || key === 'end' ? run.version : run.byNumber.get(Number(key.slice(5))).version}`,
    );
    this.mark();
  }

  renderOutline() {
    const words = this.input.value.trim();
    this.outline.classList.toggle('searching', Boolean(words));
    if (words) {
      this.outlined = this.hits;
      this.rows.height = 44;
      this.rows.set(this.hits.length);
      return;
    }
    this.rows.height = ROW_HEIGHT;
    this.outlined = outlineRows(this.roots(), this.current, this.compared);
    this.scale = scaleOf(this.roots(), this.isAligned);
    this.axis.replaceChildren(
      h('span.label', null, this.isAligned ? 'each turn' : 'time'),
      h(
        'span.lane',
        null,
        ticks(this.scale).map(({ at, text }) => {
          const tick = h('span.tick', null, text);
          tick.style.left = `${at * 100}%`;
          return tick;
        }),
      ),
      h('span.time'),
    );
    this.axis.title = this.isAligned
      ? 'Bars begin at their turns (a: by time)'
      : 'Bars by time (a: begin at their turns)';
    this.rows.set(this.outlined.length);
  }

  row(index) {
    const row = this.outlined[index];
    if (this.input.value.trim()) return hitRow(row, index === this.hit, this);
    return outlineRow(row, this.scale, this.isAt(row), this);
  }

  isAt(row) {
    const key = row.kind === 'run' ? 'task' : row.kind === 'turn' ? row.turn.key : 'end';
    return this.active === key && (row.run === this.current || Boolean(this.compared));
  }

  /** What each run used. */
  figures() {
    return this.roots().map((run) => ({
      turns: turnCount(run),
      subCalls: subCalls(run),
      children: descendants(run),
      used: run.used,
      split: runSplit(run),
    }));
  }

  head(root) {
    const runs = this.compared ?? (root ? [root] : []);
    const title = this.compared ? runs.map((run) => run.file.name).join('  ·  ') : (root?.title ?? 'No run');
    this.header.querySelector('h1').replaceChildren(title);
    this.header.querySelector('h1').title = title;
    this.header
      .querySelector('.state')
      .replaceChildren(
        ...runs.map(statusBadge),
        ...(root?.started && !this.compared ? [h('span.fact', null, root.started.model)] : []),
      );
    document.title = `${title} · abyme`;
    const notes = this.files.flatMap((file) =>
      file.notes.map((note) => h('p.warning', null, this.files.length > 1 ? `${file.name}: ${note}` : note)),
    );
    if (!root || this.compared) {
      this.banner.replaceChildren(...notes);
      return;
    }
    const split = runSplit(root);
    const counts = [
      plural(turnCount(root), 'turn'),
      subCalls(root) && plural(subCalls(root), 'sub-call'),
      descendants(root) && plural(descendants(root), 'child', 'children'),
    ].filter(Boolean);
    const line = h(
      'p',
      null,
      h('span.fact', null, h('b', null, duration(split.wall))),
      splitBar(split, split.wall),
      splitFacts(split),
      h('span.gap'),
      counts.map((text) => h('span.fact', null, text)),
      h('span.gap'),
      usageFacts(root.used),
    );
    this.banner.replaceChildren(line, ...notes);
  }

  section(key) {
    if (this.compared) return comparisonSection(key, this.compared, this);
    if (key === 'task') return taskSection(this.current, this);
    if (key === 'end') return endSection(this.current, this);
    return turnSection(this.current.byNumber.get(Number(key.slice(5))), this);
  }

  /** Goes where the address says: #turn-3, #turn-3/call-7, #task, #end, and each after the id of a run. */
  route() {
    const found = /^#(?:(.+?)\/)?(task|end|turn-\d+)?(?:\/call-(\d+))?$/.exec(location.hash);
    const id = found?.[1] && decoded(found[1]);
    const run = id
      ? this.files
          .map((file) => file.roots.length && [...file.runs.values()].find((one) => one.key === id))
          .find(Boolean)
      : this.roots()[0];
    const key = found?.[2] ?? 'task';
    if (run && run !== this.current) {
      this.current = run;
      if (!this.compared) this.flow.clear();
    }
    if (found?.[3] && this.current) {
      const turn = this.current.byNumber.get(Number(key.slice(5)));
      const index = turn?.calls.findIndex((call) => call.number === Number(found[3])) ?? -1;
      if (index >= 0) openCalls.set(`${turn.run.key}/${turn.key}`, index);
      if (turn) this.flow.refresh(turn.key);
    }
    document.body.classList.remove('outlined');
    this.active = key;
    this.render();
    this.goAndStay(key);
  }

  go(key) {
    this.active = key;
    if (this.current) this.flow.go(key);
    if (key === 'task') this.document.scrollTop = 0;
    this.showActive(true);
  }

  scrolled() {
    if (this.isScrolling) return;
    this.isScrolling = true;
    requestAnimationFrame(() => {
      this.isScrolling = false;
      const active =
        this.atEnd() && this.flow.keys.length > 1 && this.document.scrollTop > 0
          ? this.flow.keys[this.flow.keys.length - 1]
          : this.flow.active();
      if (active && active !== this.active && !this.isGoing) {
        this.active = active;
        this.showActive(true);
        history.replaceState(null, '', this.link(this.current, active));
      }
      this.mark();
    });
  }

  atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.document;
    return scrollTop + clientHeight >= scrollHeight - 4;
  }

  showActive(isRevealed) {
    if (this.input.value.trim() || !this.outlined) return;
    const index = this.outlined.findIndex((row) => this.isAt(row));
    for (const [at, row] of this.rows.shown) {
      if (at === index) row.setAttribute('aria-current', 'true');
      else row.removeAttribute('aria-current');
    }
    if (isRevealed && index >= 0) this.rows.reveal(index);
  }

  /** Goes on by so many sections. */
  step(by) {
    const index = Math.max(0, this.flow.keys.indexOf(this.active));
    const key = this.flow.keys[Math.max(0, Math.min(this.flow.keys.length - 1, index + by))];
    if (!key) return;
    history.replaceState(null, '', this.link(this.current, key));
    this.goAndStay(key);
  }

  /** Goes to a section, and does not follow the scrolling that this makes. */
  goAndStay(key) {
    this.isGoing = true;
    this.go(key);
    clearTimeout(this.going);
    this.going = setTimeout(() => {
      this.isGoing = false;
    }, 120);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    const isTyping = event.target === this.input;
    if (event.key === 'Escape') {
      if (this.input.value) {
        this.input.value = '';
        this.search();
      }
      document.body.classList.remove('outlined');
      this.input.blur();
      return;
    }
    if (isTyping) {
      if (event.key === 'Enter') this.nextHit(event.shiftKey ? -1 : 1);
      return;
    }
    const act = {
      j: () => this.step(1),
      k: () => this.step(-1),
      g: () => this.step(-1e9),
      G: () => this.step(1e9),
      n: () => this.nextHit(1),
      N: () => this.nextHit(-1),
      a: () => this.align(),
      t: () => this.nextTheme(),
      '/': () => this.input.select(),
      '?': () => this.help.showModal(),
      '[': () => this.open(this.current?.parent?.run, this.current?.parent?.turn.key),
      ']': () =>
        this.open(
          this.current?.byNumber.get(Number(this.active?.slice(5)))?.calls.find((call) => call.child)
            ?.child ?? this.current?.children[0],
          'task',
        ),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  open(run, key) {
    if (run) location.hash = this.link(run, key);
  }

  align() {
    this.isAligned = !this.isAligned;
    if (this.current) this.renderOutline();
  }

  searchSoon() {
    clearTimeout(this.searching);
    this.searching = setTimeout(() => this.search(), 120);
  }

  search() {
    const words = this.input.value;
    this.hits = search(words, this.roots());
    this.hit = -1;
    const more = this.hits.length >= MOST_HITS ? '+' : '';
    this.found.textContent = words.trim() ? `${this.hits.length}${more}` : '';
    this.list.scrollTop = 0;
    if (this.current) this.renderOutline();
    if (!words.trim()) this.showActive(true);
    this.mark();
  }

  nextHit(by) {
    if (!this.hits.length) return;
    this.showHit(this.hits[(this.hit + by + this.hits.length) % this.hits.length]);
  }

  showHit(hit) {
    this.hit = this.hits.indexOf(hit);
    unfoldHit(hit);
    document.body.classList.remove('outlined');
    if (hit.run !== this.current && !this.compared) {
      this.current = hit.run;
      this.flow.clear();
      this.render();
    }
    history.replaceState(null, '', this.link(hit.run, hit.key));
    this.flow.refresh(hit.key);
    this.goAndStay(hit.key);
    this.renderOutline();
    this.rows.reveal(this.hit);
    requestAnimationFrame(() => {
      this.mark();
      const section = this.flow.mounted.get(hit.key);
      const range = [...(globalThis.CSS?.highlights?.get('found') ?? [])].find(
        (range) => section?.contains(range.startContainer) && isIn(hit, range),
      );
      const top = range?.getBoundingClientRect().top;
      if (top) this.document.scrollTop += top - this.document.getBoundingClientRect().top - 120;
    });
  }

  mark() {
    if (this.input.value.trim() || this.wasMarked) markFound(this.input.value, this.document);
    this.wasMarked = Boolean(this.input.value.trim());
  }

  theme(name) {
    this.themeName = name;
    if (name === 'auto') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', name);
  }

  nextTheme() {
    const isDark =
      this.themeName === 'auto'
        ? matchMedia('(prefers-color-scheme: dark)').matches
        : this.themeName === 'dark';
    this.theme(isDark ? 'light' : 'dark');
    stored('theme', this.themeName);
  }

  /** New records come as events of the server that this page is from. */
  follow() {
    const [file] = this.files;
    const { from, generation } = this.options.follow;
    const events = new EventSource(`events?from=${from}&generation=${generation}`);
    const later = () => {
      if (this.isDue) return;
      this.isDue = true;
      setTimeout(
        () =>
          requestAnimationFrame(() => {
            this.isDue = false;
            const now = file.runs.get(this.current?.id) ?? file.roots[0] ?? null;
            // A run that was resumed is read anew.
            if (now !== this.current) this.flow.clear();
            this.current = now;
            const wasAtEnd = this.atEnd();
            const isOver = this.roots().every((run) => run.isOver);
            this.render();
            if (wasAtEnd && !isOver) this.document.scrollTop = this.document.scrollHeight;
          }),
        150,
      );
    };
    events.addEventListener('message', (event) => {
      file.add(JSON.parse(event.data));
      later();
    });
    events.addEventListener('notes', (event) => {
      file.notes = JSON.parse(event.data);
      later();
    });
    events.addEventListener('restart', () => location.reload());
    events.addEventListener('error', () => {
      document.body.classList.add('offline');
    });
    events.addEventListener('open', () => {
      document.body.classList.remove('offline');
    });
  }
}

function isIn(hit, range) {
  const box = range.startContainer.parentElement;
  if (hit.name === 'code') return Boolean(box.closest('.code'));
  if (hit.call !== undefined) return Boolean(box.closest('.detail'));
  return !box.closest('.code');
}

/** A setting that the browser keeps, if it keeps any for this page. */
function stored(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(`abyme-${name}`);
    localStorage.setItem(`abyme-${name}`, value);
  } catch {
    // A page that was opened from a file may have no storage.
  }
  return null;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

globalThis.abyme = new Page(JSON.parse(document.getElementById('data').textContent));
