// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'preact/hooks';
import { useFilters } from '../state/filters';
import { engineStanding, relayStanding } from '../state/standing';
import { useStore, type State as Known } from '../state/store';
import { keyOf, type Status } from '../state/types';
import { Banner } from './Banner';
import { Detail, EventList } from './Detail';
import { Heat } from './Heat';
import { Machines } from './Machines';
import { Section, State } from './parts';
import { Relay } from './Relay';
import { Services } from './Services';
import { Timeline } from './Timeline';
import { TokenForm } from './TokenForm';
import { Tunnels } from './Tunnels';

const EVENTS_SHOWN = 50;
const DETAIL = '#service=';

function chosenByAddress(): string | null {
  return location.hash.startsWith(DETAIL) ? decodeURIComponent(location.hash.slice(DETAIL.length)) : null;
}

function Health({ go }: { go: (view: View) => void }) {
  const known = useStore();
  const [filters, change] = useFilters();
  const [chosen, setChosen] = useState(chosenByAddress);
  const dashboard = known.dashboard;

  function choose(key: string | null): void {
    const hash = key === null ? '' : DETAIL + encodeURIComponent(key);
    history.replaceState(null, '', location.pathname + location.search + hash);
    setChosen(key);
  }

  if (dashboard === null) {
    return <p role="status">{known.problem ?? 'asking the monitor'}</p>;
  }
  const detail = dashboard.services.find((row) => keyOf(row) === chosen);
  const events = known.events.filter((event) => filters.machine === '' || event.machine === filters.machine);
  return (
    <>
      <Banner
        dashboard={dashboard}
        known={known}
        chosen={filters.status}
        choose={(status) => change({ status })}
        open={(row) => choose(keyOf(row))}
        go={go}
      />
      <main id="main" tabIndex={-1}>
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

// ---- What is looked at, which is in the address, too

const VIEWS = ['health', 'relay', 'tunnels', 'timeline'] as const;
type View = (typeof VIEWS)[number];
const VIEW = '#';

function viewByAddress(): View {
  const word = location.hash.slice(VIEW.length);
  return VIEWS.find((view) => view === word) ?? 'health';
}

function useView(): [View, (view: View) => void] {
  const [view, setView] = useState(viewByAddress);
  useEffect(() => {
    const back = (): void => setView(viewByAddress());
    window.addEventListener('hashchange', back);
    return () => window.removeEventListener('hashchange', back);
  }, []);
  function choose(next: View): void {
    const address = location.pathname + location.search + (next === 'health' ? '' : VIEW + next);
    history.pushState(null, '', address);
    setView(next);
  }
  return [view, choose];
}

// Not a plain link: what is behind # in the address names the view.
function Skip() {
  function skip(event: Event): void {
    event.preventDefault();
    document.getElementById('main')?.focus();
  }
  return (
    <a class="skip" href="#main" onClick={skip}>
      To what is below the banner
    </a>
  );
}

// Neighbours have a view where the monitor was told of them.
function viewsOf(known: Known): View[] {
  const parts = known.tables.table('parts');
  return VIEWS.filter((view) => (view === 'relay' ? parts.has('relay') : view === 'tunnels' ? parts.has('engine') : true));
}

// Which views have something that does not fare well: their tabs say so wherever one looks.
function statusOf(view: View, known: Known): Status | null {
  switch (view) {
    case 'health':
      return known.dashboard?.overall_status ?? null;
    case 'relay':
      return relayStanding(known.tables).status;
    case 'tunnels':
      return engineStanding(known.tables, Date.now()).status;
    case 'timeline':
      return null;
  }
}

function Tab({ name, chosen, status, choose }: { name: View; chosen: boolean; status: Status | null; choose: () => void }) {
  return (
    <button type="button" aria-current={chosen ? 'page' : undefined} onClick={choose}>
      {status !== null && status !== 'healthy' && <State status={status} word="" />}
      {name}
    </button>
  );
}

export function Page() {
  const known = useStore();
  const [view, choose] = useView();
  if (known.wantsToken) {
    return <TokenForm />;
  }
  const views = viewsOf(known);
  const shown = views.includes(view) ? view : 'health';
  return (
    <>
      <Skip />
      <nav class="views" aria-label="views">
        {views.map((name) => (
          <Tab
            key={name}
            name={name}
            chosen={shown === name}
            status={statusOf(name, known)}
            choose={() => choose(name)}
          />
        ))}
      </nav>
      {shown === 'relay' ? <Relay /> : shown === 'tunnels' ? <Tunnels /> : shown === 'timeline' ? <Timeline /> : <Health go={choose} />}
    </>
  );
}
