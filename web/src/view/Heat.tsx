// SPDX-License-Identifier: Apache-2.0
// Thirty days: how often each service got worse. Only services with problems have a row.

import type { Heatmap } from '../state/types';
import { Section } from './parts';

const ROWS_MAX = 30;

function table(heatmap: Heatmap): [string, Map<string, number>, number][] {
  const rows = new Map<string, Map<string, number>>();
  heatmap.data_points.forEach((point) => {
    if (point.problem_count > 0) {
      const row = rows.get(point.service) ?? new Map<string, number>();
      rows.set(point.service, row.set(point.date, point.problem_count));
    }
  });
  return [...rows]
    .map(([service, days]): [string, Map<string, number>, number] => [
      service,
      days,
      [...days.values()].reduce((sum, count) => sum + count, 0),
    ])
    .sort((a, b) => b[2] - a[2])
    .slice(0, ROWS_MAX);
}

const depth = (count: number): string => (count > 9 ? 'deep' : count > 2 ? 'middle' : count > 0 ? 'light' : '');

export function Heat({ heatmap }: { heatmap: Heatmap }) {
  const rows = table(heatmap);
  return (
    <Section title="Thirty days">
      {rows.length === 0 ? (
        <p class="soft">No service got worse in thirty days.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="problems by day">
          <table class="heat">
            <thead>
              <tr>
                <th scope="col">Service</th>
                {heatmap.dates.map((date) => (
                  <th scope="col" key={date} title={date}>
                    {date.slice(8)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map(([service, days, total]) => (
                <tr key={service}>
                  <th scope="row">
                    {service} <small class="soft">{total}</small>
                  </th>
                  {heatmap.dates.map((date) => {
                    const count = days.get(date) ?? 0;
                    return (
                      <td key={date} class={depth(count)} title={`${date}: ${count}`}>
                        {count > 0 ? Math.min(count, 99) : ''}
                      </td>
                    );
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Section>
  );
}
