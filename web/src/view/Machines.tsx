// SPDX-License-Identifier: Apache-2.0
import type { Machine } from '../state/types';
import { Age, Section, State } from './parts';

function Bar({ name, percent }: { name: string; percent: number | null }) {
  if (percent === null) {
    return null;
  }
  const shown = Math.round(percent);
  return (
    <div class="bar">
      <span>{name}</span>
      <meter min={0} max={100} low={70} high={90} optimum={0} value={shown} aria-label={`${name} ${shown} %`} />
      <span class="number">{shown} %</span>
    </div>
  );
}

interface Props {
  machines: Machine[];
  chosen: string;
  choose: (machine: string) => void;
}

export function Machines({ machines, chosen, choose }: Props) {
  return (
    <Section title="Machines">
      <ul class="machines">
        {machines.map((machine) => (
          <li key={machine.machine} class={machine.status}>
            <p class="head">
              <button
                type="button"
                class="link"
                aria-pressed={chosen === machine.machine}
                title={chosen === machine.machine ? 'show all machines' : 'show only this machine'}
                onClick={() => choose(chosen === machine.machine ? '' : machine.machine)}
              >
                {machine.machine}
              </button>{' '}
              <State status={machine.status} />
            </p>
            <p>
              {machine.healthy_services} of {machine.services_count} healthy
            </p>
            <Bar name="cpu" percent={machine.cpu_usage} />
            <Bar name="memory" percent={machine.memory_usage} />
            <Bar name="disk" percent={machine.disk_usage} />
            <small class="soft">
              {machine.reachable === false ? 'not reachable; ' : ''}checked <Age time={machine.last_checked} />
            </small>
          </li>
        ))}
      </ul>
    </Section>
  );
}
