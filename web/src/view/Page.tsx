// SPDX-License-Identifier: Apache-2.0
import { useState } from 'preact/hooks';
import { useFilters } from '../state/filters';
import { useStore } from '../state/store';
import { keyOf } from '../state/types';
import { Banner } from './Banner';
import { Detail, EventList } from './Detail';
import { Heat } from './Heat';
import { Machines } from './Machines';
import { Section } from './parts';
import { Services } from './Services';
import { TokenForm } from './TokenForm';

const EVENTS_SHOWN = 50;
const DETAIL = '#service=';

function chosenByAddress(): string | null {
  return location.hash.startsWith(DETAIL) ? decodeURIComponent(location.hash.slice(DETAIL.length)) : null;
}

export function Page() {
  const known = useStore();
  const [filters, change] = useFilters();
  const [chosen, setChosen] = useState(chosenByAddress);
  const dashboard = known.dashboard;

  function choose(key: string | null): void {
    const hash = key === null ? '' : DETAIL + encodeURIComponent(key);
    history.replaceState(null, '', location.pathname + location.search + hash);
    setChosen(key);
  }

  if (known.wantsToken) {
    return <TokenForm />;
  }
  if (dashboard === null) {
    return <p role="status">{known.problem ?? 'asking the monitor'}</p>;
  }
  const detail = dashboard.services.find((row) => keyOf(row) === chosen);
  const events = known.events.filter((event) => filters.machine === '' || event.machine === filters.machine);
  return (
    <>
      <Banner dashboard={dashboard} connection={known.connection} />
      <main>
        {dashboard.registry.error !== null && (
          <p class="error" role="alert">
            The registry could not be read again; what was read before goes on. {dashboard.registry.error}
          </p>
        )}
        {known.problem !== null && (
          <p class="error" role="alert">
            {known.problem}
          </p>
        )}
        <Machines machines={dashboard.machines} chosen={filters.machine} choose={(machine) => change({ machine })} />
        <Services known={known} filters={filters} change={change} open={(row) => choose(keyOf(row))} />
        <Section title="Events">
          <EventList events={events.slice(0, EVENTS_SHOWN)} />
        </Section>
        {known.heatmap !== null && <Heat heatmap={known.heatmap} />}
      </main>
      <footer class="soft">
        {dashboard.generated_by}. The same for programs: <a href="api/health/dashboard">JSON</a>,{' '}
        <a href="metrics">metrics</a>.
      </footer>
      {detail !== undefined && <Detail row={detail} close={() => choose(null)} />}
    </>
  );
}
