// SPDX-License-Identifier: Apache-2.0
// Named tables of keyed rows: what the monitor has told so far. A snapshot replaces everything once
// its last part is there; what is shown until then is what was known before.

import type { Message } from '../net/live';

export type Table<Row = unknown> = ReadonlyMap<string, Row>;
type Rows = Map<string, Map<string, unknown>>;

const EMPTY: Table<never> = new Map<string, never>();

function rowsOf(tables: Rows, name: string): Map<string, unknown> {
  let rows = tables.get(name);
  if (rows === undefined) {
    rows = new Map();
    tables.set(name, rows);
  }
  return rows;
}

export class Tables {
  at: string | null = null;
  private shown: Rows = new Map();
  private coming: Rows | null = null; // a snapshot of which parts are missing
  private number = 0;
  private part = 0;
  private turn = 0;
  private readonly turns = new Map<string, number>();
  private allTurn = 0;

  // False: a message is missing.
  take(message: Message): boolean {
    if (message.type === 'snapshot') {
      return this.takePart(message);
    }
    if (message.n !== this.number + 1) {
      return false;
    }
    this.number = message.n;
    this.apply(this.coming ?? this.shown, message);
    return true;
  }

  table<Row>(name: string): Table<Row> {
    return (this.shown.get(name) as Table<Row> | undefined) ?? EMPTY;
  }

  // Another number for as long as something in the tables changes: for what is made of their rows.
  revision(...names: string[]): number {
    return Math.max(this.allTurn, ...names.map((name) => this.turns.get(name) ?? 0));
  }

  private takePart(message: Message): boolean {
    if (message.part === 1) {
      this.coming = new Map();
      this.number = message.n;
    } else if (this.coming === null || message.part !== this.part + 1) {
      return false;
    }
    this.part = message.part ?? 1;
    this.apply(this.coming, message);
    if (message.more !== true) {
      this.shown = this.coming;
      this.coming = null;
      this.allTurn = ++this.turn;
    }
    return true;
  }

  private apply(tables: Rows, message: Message): void {
    this.turn++;
    Object.keys({ ...message.gone, ...message.set }).forEach((name) => this.turns.set(name, this.turn));
    for (const [name, keys] of Object.entries(message.gone ?? {})) {
      keys.forEach((key) => rowsOf(tables, name).delete(key));
    }
    for (const [name, rows] of Object.entries(message.set)) {
      rows.forEach(([key, row]) => rowsOf(tables, name).set(key, row));
    }
    if (tables === this.shown || message.more !== true) {
      this.at = message.at;
    }
  }

  get whole(): boolean {
    return this.coming === null && this.at !== null;
  }
}
