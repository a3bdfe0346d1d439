// SPDX-License-Identifier: Apache-2.0
// All about one service, in a dialog: Escape closes it, and the address keeps it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { get, send, words } from '../net/api';
import { store } from '../state/store';
import { clockText, msText } from '../state/time';
import type { Bucket, Event, Result, Service } from '../state/types';
import { Chart } from './Chart';
import { Facts } from './Facts';
import { Age, State } from './parts';

const REFRESH_MS = 5000;
const RESULTS_SHOWN = 50;
const MAINTENANCE_S = 3600;
const RANGES: Record<string, number> = { '1h': 3600, '24h': 86_400 };

interface Loaded {
  results: Result[];
  events: Event[];
  buckets: Bucket[];
}

function useLoaded(row: Service, range: string, turn: number): [Loaded | null, string | null] {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const name = encodeURIComponent(row.service);
  const at = `machine=${encodeURIComponent(row.machine)}`;
  useEffect(() => {
    let wanted = true;
    async function load(): Promise<void> {
      try {
        const [service, history, timeline] = await Promise.all([
          get<{ results: Result[] }>(`api/health/services/${name}?${at}`),
          get<{ buckets: Bucket[] }>(`api/health/services/${name}/history?range=${range}&${at}`),
          get<{ events: Event[] }>(`api/health/timeline?service=${name}&${at}&limit=20`),
        ]);
        if (wanted) {
          setLoaded({ results: service.results, buckets: history.buckets, events: timeline.events });
          setProblem(null);
        }
      } catch (error) {
        if (wanted) {
          setProblem(words(error));
        }
      }
    }
    void load();
    const timer = window.setInterval(() => void load(), REFRESH_MS);
    return () => {
      wanted = false;
      window.clearInterval(timer);
    };
  }, [name, at, range, turn]);
  return [loaded, problem];
}

function ServiceFacts({ row }: { row: Service }) {
  const check = row.check;
  const facts: [string, string][] = [
    [
      'check',
      check === null
        ? 'none'
        : `${check.type}, every ${check.interval} s, at most ${check.timeout} s; ${check.failure_threshold} failures are too many`,
    ],
    ['score', String(row.health_score)],
    ['last 24 hours', row.uptime_24h === null ? 'no result' : `${row.uptime_24h.toFixed(2)} % passed`],
    ['response', msText(row.response_time_ms) || 'none'],
    ['failures in a row', String(row.consecutive_failures)],
    ['reason', row.state_reason],
  ];
  return <Facts facts={facts} />;
}

function Results({ results }: { results: Result[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="newest results">
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Result</th>
            <th scope="col">Took</th>
            <th scope="col">State after it</th>
          </tr>
        </thead>
        <tbody>
          {results.slice(0, RESULTS_SHOWN).map((result) => (
            <tr key={result.time}>
              <td>{clockText(result.time)}</td>
              <td>{result.ok ? 'passed' : `failed${result.code > 0 ? ` (${result.code})` : ''}`}</td>
              <td class="number">{msText(result.latency_ms)}</td>
              <td>
                <State status={result.status} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function EventList({ events }: { events: Event[] }) {
  if (events.length === 0) {
    return <p class="soft">Nothing has happened.</p>;
  }
  return (
    <ol class="events">
      {events.map((event) => (
        <li key={event.id}>
          <time dateTime={event.timestamp}>{clockText(event.timestamp)}</time>{' '}
          {event.service !== null && (
            <strong>
              {event.service}
              {event.machine !== null && ` on ${event.machine}`}
            </strong>
          )}{' '}
          {event.new_status !== null ? <State status={event.new_status} /> : event.event_type.replaceAll('_', ' ')}{' '}
          <span class="soft">{event.message}</span>
        </li>
      ))}
    </ol>
  );
}

export function Detail({ row, close }: { row: Service; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [range, setRange] = useState('1h');
  const [turn, setTurn] = useState(0);
  const [said, setSaid] = useState('');
  const [loaded, problem] = useLoaded(row, range, turn);

  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  async function act(what: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
      setSaid(what);
      setTurn((now) => now + 1);
      await store.refresh();
    } catch (error) {
      setSaid(words(error));
    }
  }

  const name = encodeURIComponent(row.service);
  const at = `machine=${encodeURIComponent(row.machine)}`;
  const maintain = row.maintenance
    ? () => act('maintenance has ended', () => send('DELETE', `api/health/maintenance/${name}?${at}`))
    : () =>
        act('in maintenance for an hour', () =>
          send('POST', `api/health/maintenance/${name}?${at}`, { for_seconds: MAINTENANCE_S, reason: 'from the page' }),
        );
  return (
    <dialog ref={dialog} class="detail" aria-labelledby="detail-title" onClose={close}>
      <form method="dialog" class="head">
        <h2 id="detail-title">
          {row.service} <small class="soft">on {row.machine}</small>
        </h2>
        <button class="close" aria-label="close">
          ✕
        </button>
      </form>
      <p>
        <State status={row.status} /> {row.maintenance && <span class="badge">maintenance</span>} checked{' '}
        <Age time={row.last_checked} />
        {row.issues.map((issue) => (
          <span class="issue"> {issue}</span>
        ))}
      </p>
      <p class="actions">
        <button type="button" onClick={() => void act('checked', () => send('POST', `api/health/check/${name}?${at}`))}>
          Check now
        </button>
        <button type="button" onClick={() => void maintain()}>
          {row.maintenance ? 'End maintenance' : 'Maintenance for an hour'}
        </button>
        <span role="status">{said}</span>
      </p>
      {problem !== null && <p class="error">{problem}</p>}
      <ServiceFacts row={row} />
      <h3>Latency</h3>
      <p class="actions" role="group" aria-label="range">
        {Object.keys(RANGES).map((choice) => (
          <button type="button" key={choice} aria-pressed={range === choice} onClick={() => setRange(choice)}>
            {choice}
          </button>
        ))}
      </p>
      <Chart buckets={loaded?.buckets ?? []} seconds={RANGES[range] ?? 3600} />
      <h3>Newest results</h3>
      <Results results={loaded?.results ?? []} />
      <h3>Events</h3>
      <EventList events={loaded?.events ?? []} />
    </dialog>
  );
}
