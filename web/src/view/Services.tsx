// SPDX-License-Identifier: Apache-2.0
import { useMemo } from 'preact/hooks';
import { passes, type Filters } from '../state/filters';
import { store, type State as Known } from '../state/store';
import { msText } from '../state/time';
import { keyOf, STATUSES, type Service, type Strip } from '../state/types';
import { Age, Choice, Day, Section, Spark, State } from './parts';
import { Rows } from './Rows';

const NARROW_HEIGHT = 68;

function FilterBar({ known, filters, change }: { known: Known; filters: Filters; change: (c: Partial<Filters>) => void }) {
  const machines = known.dashboard?.machines.map((machine) => machine.machine) ?? [];
  const roles = [...new Set([...known.roles.values()].flat())].sort();
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      <Choice name="State" value={filters.status} words={[...STATUSES]} choose={(status) => change({ status })} />
      <Choice name="Machine" value={filters.machine} words={machines} choose={(machine) => change({ machine })} />
      {roles.length > 0 && <Choice name="Role" value={filters.role} words={roles} choose={(role) => change({ role })} />}
      <label>
        Text
        <input type="search" value={filters.text} onInput={(event) => change({ text: event.currentTarget.value })} />
      </label>
    </form>
  );
}

function Heads() {
  return (
    <div class="row heads" aria-hidden="true">
      <span class="cell status">State</span>
      <span class="cell name">Service</span>
      <span class="cell picture">Newest results</span>
      <span class="cell number">Took</span>
      <span class="cell picture">Last 24 hours</span>
      <span class="cell age">Checked</span>
      <span class="cell issue">Issue</span>
    </div>
  );
}

interface RowProps {
  row: Service;
  strip: Strip | undefined;
  tabIndex: number;
  open: () => void;
}

function Row({ row, strip, tabIndex, open }: RowProps) {
  return (
    <button type="button" tabIndex={tabIndex} class={row.issues.length > 0 ? 'row ill' : 'row'} onClick={open}>
      <span class="cell status">
        <State status={row.status} />
        {row.maintenance && <span class="badge">maintenance</span>}
      </span>
      <span class="cell name" title={`${row.service} on ${row.machine}`}>
        {row.service} <small class="soft">{row.machine}</small>
      </span>
      <span class="cell picture">{strip !== undefined && <Spark values={strip.latency_ms} />}</span>
      <span class="cell number">{msText(row.latency_ms)}</span>
      <span class="cell picture">{strip !== undefined && <Day day={strip.day} />}</span>
      <span class="cell age soft">
        <Age time={row.last_checked} />
      </span>
      <span class="cell issue" title={row.issues[0]}>
        {row.consecutive_failures > 1 && <span class="badge">{row.consecutive_failures} in a row</span>} {row.issues[0] ?? ''}
      </span>
    </button>
  );
}

interface Props {
  known: Known;
  filters: Filters;
  change: (changes: Partial<Filters>) => void;
  open: (row: Service) => void;
}

export function Services({ known, filters, change, open }: Props) {
  const rows = useMemo(
    () => known.dashboard?.services.filter((row) => passes(filters, row, known.roles)) ?? [],
    [known.dashboard?.services, known.roles, filters],
  );
  const total = known.dashboard?.services.length ?? 0;
  return (
    <Section title="Services">
      <FilterBar known={known} filters={filters} change={change} />
      <Heads />
      <Rows
        items={rows}
        keyOf={keyOf}
        narrowHeight={NARROW_HEIGHT}
        label="services"
        row={(row, tabIndex) => <Row row={row} tabIndex={tabIndex} strip={known.strips.get(keyOf(row))?.strip} open={() => open(row)} />}
        seen={(inSight) => void store.wantStrips(inSight)}
      />
      <p class="soft" role="status">
        {rows.length} of {total} services shown.
      </p>
    </Section>
  );
}
