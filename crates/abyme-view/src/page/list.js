// Long lists: only what can be seen is in the document.

/** Rows of one height. `render(index)` makes a row. */
class Rows {
  constructor(box, height, render) {
    Object.assign(this, { box, height, render, count: 0, shown: new Map() });
    this.body = h('div.rows');
    box.append(this.body);
    box.addEventListener('scroll', () => this.show(), { passive: true });
    new ResizeObserver(() => this.show()).observe(box);
  }

  /** There are so many rows, and each may have changed. */
  set(count) {
    this.count = count;
    this.body.style.height = `${count * this.height}px`;
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
    this.show();
  }

  show() {
    const { box, height, count, shown } = this;
    const first = Math.max(0, Math.floor(box.scrollTop / height) - 6);
    const last = Math.min(count, Math.ceil((box.scrollTop + box.clientHeight) / height) + 6);
    for (const [index, row] of shown) {
      if (index < first || index >= last) {
        row.remove();
        shown.delete(index);
      }
    }
    let before = null;
    for (let index = last - 1; index >= first; index -= 1) {
      let row = shown.get(index);
      if (!row) {
        row = this.render(index);
        row.style.top = `${index * height}px`;
        shown.set(index, row);
        this.body.insertBefore(row, before);
      }
      before = row;
    }
  }

  /** Scrolls so that the row is in sight. */
  reveal(index) {
    const { box, height } = this;
    const top = index * height;
    if (top < box.scrollTop) box.scrollTop = top - height;
    else if (top + height > box.scrollTop + box.clientHeight)
      box.scrollTop = top + 2 * height - box.clientHeight;
    this.show();
  }
}

/** How many sections are always all in the document, so that the browser's own search and print have them. */
const WHOLE = 40;

/** Sections of any height, below each other. A height is a guess until its section was in the document. */
class Flow {
  constructor(scroller, render, estimate) {
    Object.assign(this, {
      scroller,
      render,
      estimate,
      keys: [],
      places: new Map(),
      heights: new Map(),
      mounted: new Map(),
      stamps: new Map(),
    });
    this.above = h('div.gap');
    this.below = h('div.gap');
    this.body = h('div.flow', null, this.above, this.below);
    scroller.append(this.body);
    scroller.addEventListener('scroll', () => this.show(), { passive: true });
    this.sizes = new ResizeObserver(() => this.show());
    this.sizes.observe(scroller);
  }

  /** Shows these sections. One whose stamp is the same is kept as it is. */
  set(keys, stampOf) {
    const anchor = this.anchor();
    const kept = new Set(keys);
    for (const key of [...this.mounted.keys()]) {
      if (!kept.has(key) || this.stamps.get(key) !== stampOf(key)) this.unmount(key);
    }
    this.keys = keys;
    this.places = new Map(keys.map((key, index) => [key, index]));
    this.stampOf = stampOf;
    this.place(anchor);
  }

  /** Begins anew, for another run. */
  clear() {
    for (const key of [...this.mounted.keys()]) this.unmount(key);
    this.heights.clear();
    this.keys = [];
  }

  /** Makes a section anew. */
  refresh(key) {
    if (!this.mounted.has(key)) return;
    const anchor = this.anchor();
    this.unmount(key);
    this.place(anchor);
  }

  unmount(key) {
    const section = this.mounted.get(key);
    this.sizes.unobserve(section);
    section.remove();
    this.mounted.delete(key);
  }

  heightOf(key) {
    return this.heights.get(key) ?? this.estimate;
  }

  /** Where a section begins, in the coordinates of the scroller. */
  offsetOf(key) {
    let at = this.body.offsetTop;
    for (const before of this.keys) {
      if (before === key) break;
      at += this.heightOf(before);
    }
    return at;
  }

  show() {
    this.place(this.anchor());
  }

  /** What is read, and where in the window it is: this stays when heights change. */
  anchor() {
    const key = this.active();
    return key === null ? null : { key, top: this.offsetOf(key) - this.scroller.scrollTop };
  }

  /** Puts the sections of the window into the document, until all have the height that was thought. */
  place(anchor) {
    for (let again = 0; again < 8; again += 1) {
      this.mount();
      let changed = false;
      for (const [key, section] of this.mounted) {
        const { height } = section.getBoundingClientRect();
        if (height && Math.abs(this.heightOf(key) - height) > 0.01) {
          changed = true;
        }
        if (height) this.heights.set(key, height);
      }
      if (anchor && this.places.has(anchor.key)) {
        const top = this.offsetOf(anchor.key) - anchor.top;
        if (Math.abs(top - this.scroller.scrollTop) > 1) this.scroller.scrollTop = top;
      }
      if (!changed) return;
    }
  }

  mount() {
    const { keys, scroller, mounted } = this;
    const margin = keys.length <= WHOLE ? Infinity : scroller.clientHeight;
    const top = scroller.scrollTop - this.body.offsetTop;
    const wanted = new Set();
    let [at, above, below] = [0, 0, 0];
    for (const key of keys) {
      const height = this.heightOf(key);
      if (at + height < top - margin) above += height;
      else if (at > top + scroller.clientHeight + margin) below += height;
      else wanted.add(key);
      at += height;
    }
    for (const key of [...mounted.keys()]) if (!wanted.has(key)) this.unmount(key);
    let next = this.below;
    for (const key of [...wanted].reverse()) {
      let section = mounted.get(key);
      if (!section) {
        section = this.render(key);
        mounted.set(key, section);
        this.stamps.set(key, this.stampOf(key));
        this.sizes.observe(section);
      }
      if (section.nextSibling !== next) this.body.insertBefore(section, next);
      next = section;
    }
    this.above.style.height = `${above}px`;
    this.below.style.height = `${below}px`;
  }

  /** The section that is read: the last one that begins in the upper third of the window. */
  active() {
    const { scroller } = this;
    const line = scroller.scrollTop + Math.min(200, scroller.clientHeight / 3);
    let at = this.body.offsetTop;
    let best = this.keys[0] ?? null;
    for (const key of this.keys) {
      if (at > line) break;
      best = key;
      at += this.heightOf(key);
    }
    return best;
  }

  go(key) {
    if (!this.places.has(key)) return;
    this.scroller.scrollTop = this.offsetOf(key);
    this.place({ key, top: 0 });
  }
}
