// SPDX-License-Identifier: Apache-2.0
// What the reader asked to see. It is in the page's address, so that it can be sent to others, and the
// page without scripts understands the same words.

import { useEffect, useState } from 'preact/hooks';
import type { Service } from './types';

export interface Filters {
  status: string;
  machine: string;
  role: string;
  part: string; // of the timeline
  text: string;
}

const NAMES: readonly (keyof Filters)[] = ['status', 'machine', 'role', 'part', 'text'];

export function read(search: string): Filters {
  const query = new URLSearchParams(search);
  const filters = { status: '', machine: '', role: '', part: '', text: '' };
  NAMES.forEach((name) => (filters[name] = query.get(name) ?? ''));
  return filters;
}

export function write(filters: Filters): string {
  const query = new URLSearchParams();
  NAMES.forEach((name) => filters[name] !== '' && query.set(name, filters[name]));
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

export function passes(filters: Filters, row: Service, roles: Map<string, string[]>): boolean {
  const text = filters.text.toLowerCase();
  return (
    (filters.status === '' || row.status === filters.status) &&
    (filters.machine === '' || row.machine === filters.machine) &&
    (filters.role === '' || (roles.get(row.machine) ?? []).includes(filters.role)) &&
    (text === '' || row.service.toLowerCase().includes(text) || row.machine.toLowerCase().includes(text))
  );
}

export function useFilters(): [Filters, (changes: Partial<Filters>) => void] {
  const [filters, setFilters] = useState(() => read(location.search));
  useEffect(() => {
    const back = (): void => setFilters(read(location.search));
    window.addEventListener('popstate', back);
    return () => window.removeEventListener('popstate', back);
  }, []);
  function change(changes: Partial<Filters>): void {
    const next = { ...filters, ...changes };
    history.replaceState(null, '', location.pathname + write(next) + location.hash);
    setFilters(next);
  }
  return [filters, change];
}
