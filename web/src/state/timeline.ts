// SPDX-License-Identifier: Apache-2.0
// What happened in all three parts, the newest first.

import type { Filters } from './filters';
import type { Tables } from './tables';
import type { EventRow, Level, LogRow } from './types';

export const PARTS = ['health', 'relay', 'engine'] as const;
export type Part = (typeof PARTS)[number];

export interface Happening {
  key: string;
  time: string;
  part: Part;
  kind: string;
  level: Level;
  what: string;
  words: string;
}

// Parts of one process share its log, and tell of themselves besides.
const ELSEWHERE = /^(health|engine|agent|control_channel|tunnel|proxy_connection|dial)_/;

const ofHealth = ([key, row]: [string, EventRow]): Happening => ({
  key: `health ${key}`,
  time: row.time,
  part: 'health',
  kind: row.kind,
  level: row.level,
  what: [row.service, row.machine].filter(Boolean).join(' on '),
  words: row.words ?? '',
});

const ofLog =
  (part: Part) =>
  ([key, row]: [string, LogRow]): Happening => ({
    key: `${part} ${key}`,
    time: row.time,
    part,
    kind: row.kind,
    level: row.level,
    what: row.what ?? '',
    words: row.words,
  });

export function timeline(tables: Tables): Happening[] {
  return [
    ...[...tables.table<EventRow>('events')].map(ofHealth),
    ...[...tables.table<LogRow>('relay_log')].filter(([, row]) => !ELSEWHERE.test(row.kind)).map(ofLog('relay')),
    ...[...tables.table<LogRow>('engine_log')].map(ofLog('engine')),
  ].sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
}

export function concerns(filters: Filters, row: Happening): boolean {
  const text = filters.text.toLowerCase();
  return (
    (filters.part === '' || row.part === filters.part) &&
    (text === '' || `${row.kind} ${row.level} ${row.what} ${row.words}`.toLowerCase().includes(text))
  );
}
