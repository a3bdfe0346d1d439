// SPDX-License-Identifier: Apache-2.0
// What happened in health, relay and engine, in one list.

import { useMemo } from 'preact/hooks';
import { useFilters } from '../state/filters';
import { useStore } from '../state/store';
import { concerns, PARTS, timeline } from '../state/timeline';
import type { PartRow } from '../state/types';
import { Standing } from './Banner';
import { Lines } from './Happenings';
import { Choice, Section } from './parts';

const LINES_SHOWN = 300;

export function Timeline() {
  const known = useStore();
  const [filters, change] = useFilters();
  const { tables } = known;
  const all = useMemo(() => timeline(tables), [tables.revision('events', 'relay_log', 'engine_log')]);
  const shown = all.filter((row) => concerns(filters, row));
  const parts = tables.table<PartRow>('parts');
  return (
    <>
      <header class="banner">
        <h1>Timeline</h1>
        <p class="soft">
          <Standing known={known} />
        </p>
      </header>
      <main id="main" tabIndex={-1}>
        {[...parts]
          .filter(([, part]) => part.problem !== null)
          .map(([name, part]) => (
            <p key={name} class="error" role="alert">
              {part.problem}
            </p>
          ))}
        <Section title="What happened">
          <form class="filters" onSubmit={(event) => event.preventDefault()}>
            <Choice
              name="Part"
              value={filters.part}
              words={PARTS.filter((part) => part === 'health' || parts.has(part))}
              choose={(part) => change({ part })}
            />
            <label>
              Text
              <input type="search" value={filters.text} onInput={(event) => change({ text: event.currentTarget.value })} />
            </label>
          </form>
          {shown.length === 0 ? (
            <p class="soft">Nothing of this has happened.</p>
          ) : (
            <Lines lines={shown.slice(0, LINES_SHOWN)} label="timeline" />
          )}
          <p class="soft" role="status">
            {Math.min(shown.length, LINES_SHOWN)} of {all.length} events shown.
          </p>
        </Section>
      </main>
    </>
  );
}
