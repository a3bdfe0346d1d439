// SPDX-License-Identifier: Apache-2.0
// The cluster in one look; the tab's title and picture say the same.

import { useEffect, useMemo } from 'preact/hooks';
import type { Connection, State as Known } from '../state/store';
import { engineStanding, relayStanding } from '../state/standing';
import type { Tables } from '../state/tables';
import { keyOf, STATUSES, type Dashboard, type Service, type Status } from '../state/types';
import { Age, State } from './parts';

const CONNECTIONS: Record<Connection, string> = {
  connecting: 'connecting',
  live: 'live',
  polling: 'asking every 5 s',
  offline: 'the monitor does not answer',
};

const PROBLEMS_SHOWN = 3;

// What somebody has to look at, the worst first.
function problemsOf(services: Service[]): Service[] {
  const rank = (row: Service): number => STATUSES.indexOf(row.status) * 1000 - Math.min(row.consecutive_failures, 999);
  return services
    .filter((row) => (row.status === 'unhealthy' || row.status === 'degraded') && !row.maintenance)
    .sort((a, b) => rank(a) - rank(b));
}

function useTab(status: string): void {
  useEffect(() => {
    document.title = `${status} - weir health`;
    let link = document.querySelector<HTMLLinkElement>('link[rel=icon]');
    if (link === null) {
      link = document.createElement('link');
      link.rel = 'icon';
      document.head.append(link);
    }
    link.href = `health/icon/${status}.svg`;
  }, [status]);
}

interface Props {
  dashboard: Dashboard;
  known: Known;
  chosen: string; // the state of which services are shown only
  choose: (status: string) => void;
  open: (row: Service) => void;
  go: (view: 'relay' | 'tunnels') => void;
}

// How many are in which state; each shows those and no others.
function Counts({ dashboard, chosen, choose }: Pick<Props, 'dashboard' | 'chosen' | 'choose'>) {
  const counts: Record<Status, number> = {
    // The document counts what is unknown twice.
    unhealthy: dashboard.unhealthy_services - dashboard.unknown_services,
    degraded: dashboard.degraded_services,
    unknown: dashboard.unknown_services,
    healthy: dashboard.healthy_services,
  };
  return (
    <p class="chips" role="group" aria-label="services by state">
      {STATUSES.filter((status) => counts[status] > 0 || chosen === status).map((status) => (
        <button
          type="button"
          key={status}
          class="chip"
          aria-pressed={chosen === status}
          title={chosen === status ? 'show all services' : `show only what is ${status}`}
          onClick={() => choose(chosen === status ? '' : status)}
        >
          <State status={status} word={`${counts[status]} ${status}`} />
        </button>
      ))}
    </p>
  );
}

// How old what is shown is, and whether it is told as it changes.
export function Standing({ known: { at, connection } }: { known: Known }) {
  return (
    <>
      as of <Age time={at} />,{' '}
      <span role="status" class={`connection ${connection}`}>
        {CONNECTIONS[connection]}
      </span>
    </>
  );
}

// What is beside the monitor and does not fare well.
function Neighbours({ tables, go }: { tables: Tables; go: Props['go'] }) {
  const all = [
    { name: 'relay', view: 'relay', ...relayStanding(tables) },
    { name: 'engine', view: 'tunnels', ...engineStanding(tables, Date.now()) },
  ] as const;
  return (
    <>
      {all
        .filter(({ status }) => status !== 'healthy')
        .map(({ name, view, status, words }) => (
          <li key={name}>
            <State status={status} word="" />
            <button type="button" class="link" onClick={() => go(view)}>
              {name}
            </button>
            : {words}
          </li>
        ))}
    </>
  );
}

export function Banner({ dashboard, known, chosen, choose, open, go }: Props) {
  const problems = useMemo(() => problemsOf(dashboard.services), [dashboard.services]);
  useTab(dashboard.overall_status);
  return (
    <header class={`banner ${dashboard.overall_status}`}>
      <div class="verdict">
        <h1>
          Cluster: <State status={dashboard.overall_status} />
        </h1>
        <p class="soft">
          {dashboard.total_services} services on {dashboard.machines.length} machines, score{' '}
          {dashboard.overall_health_score}, <Standing known={known} />
        </p>
      </div>
      {dashboard.notice !== null && <p class="notice">{dashboard.notice}</p>}
      <ul class="worst" aria-label="problems">
        <Neighbours tables={known.tables} go={go} />
        {problems.slice(0, PROBLEMS_SHOWN).map((row) => (
          <li key={keyOf(row)}>
            <State status={row.status} word="" />
            <button type="button" class="link" onClick={() => open(row)}>
              {row.service}
            </button>{' '}
            on {row.machine}: {row.issues[0] ?? row.state_reason}
          </li>
        ))}
        {problems.length > PROBLEMS_SHOWN && <li class="soft">and {problems.length - PROBLEMS_SHOWN} more</li>}
      </ul>
      <Counts dashboard={dashboard} chosen={chosen} choose={choose} />
    </header>
  );
}
