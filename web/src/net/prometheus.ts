// SPDX-License-Identifier: Apache-2.0
// Prometheus' text format, as much of it as weir writes.

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function parse(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const match = line.startsWith('#') ? null : LINE.exec(line);
    if (match === null || match[1] === undefined) {
      continue;
    }
    const labels: Record<string, string> = {};
    for (const [, name, value] of (match[2] ?? '').matchAll(LABEL)) {
      labels[name ?? ''] = (value ?? '').replace(/\\(.)/g, (_all, letter: string) => (letter === 'n' ? '\n' : letter));
    }
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

export class Metrics {
  private readonly byName = new Map<string, Sample[]>();

  constructor(samples: Sample[]) {
    samples.forEach((sample) => {
      const known = this.byName.get(sample.name);
      if (known === undefined) {
        this.byName.set(sample.name, [sample]);
      } else {
        known.push(sample);
      }
    });
  }

  all(name: string): Sample[] {
    return this.byName.get(name) ?? [];
  }

  // Added up over what fits; 0 when there is none.
  sum(name: string, labels: Record<string, string> = {}): number {
    return this.all(name)
      .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .reduce((total, sample) => total + sample.value, 0);
  }

  // The bound of the bucket that holds the share of what was observed since `before`; null: nothing was.
  quantile(name: string, share: number, before: Metrics | null): number | null {
    const buckets = this.all(`${name}_bucket`)
      .map((sample) => ({
        bound: sample.labels['le'] === '+Inf' ? Infinity : Number(sample.labels['le']),
        count: sample.value - (before?.sum(`${name}_bucket`, sample.labels) ?? 0),
      }))
      .sort((a, b) => a.bound - b.bound);
    const total = buckets.at(-1)?.count ?? 0;
    return total === 0 ? null : (buckets.find((bucket) => bucket.count >= total * share)?.bound ?? null);
  }
}
