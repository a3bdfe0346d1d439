// SPDX-License-Identifier: Apache-2.0
// The cluster in one look; the tab's title and picture say the same.

import { useEffect } from 'preact/hooks';
import type { Connection } from '../state/store';
import { STATUSES, type Dashboard, type Service } from '../state/types';
import { Age, State } from './parts';

const CONNECTIONS: Record<Connection, string> = {
  connecting: 'connecting',
  live: 'live',
  polling: 'asking every 5 s',
  offline: 'the monitor does not answer',
};

function worst(services: Service[]): Service | undefined {
  const rank = (row: Service): number => STATUSES.indexOf(row.status) * 1000 - row.consecutive_failures;
  return services
    .filter((row) => row.issues.length > 0 && row.status !== 'healthy' && !row.maintenance)
    .sort((a, b) => rank(a) - rank(b))[0];
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

export function Banner({ dashboard, connection }: { dashboard: Dashboard; connection: Connection }) {
  const problem = worst(dashboard.services);
  useTab(dashboard.overall_status);
  return (
    <header class={`banner ${dashboard.overall_status}`}>
      <h1>
        Cluster: <State status={dashboard.overall_status} />
      </h1>
      <p>
        Score {dashboard.overall_health_score}. {dashboard.healthy_services} healthy, {dashboard.degraded_services}{' '}
        degraded, {dashboard.unhealthy_services} unhealthy, {dashboard.unknown_services} unknown;{' '}
        {dashboard.total_services} services on {dashboard.machines.length} machines.
      </p>
      {dashboard.notice !== null && <p class="notice">{dashboard.notice}</p>}
      {problem !== undefined && (
        <p class="worst">
          Worst: <strong>{problem.service}</strong> on {problem.machine}: {problem.issues[0]}
        </p>
      )}
      <p class="soft">
        As of <Age time={dashboard.last_updated} />.{' '}
        <span role="status" class={`connection ${connection}`}>
          {CONNECTIONS[connection]}
        </span>
      </p>
    </header>
  );
}
