// SPDX-License-Identifier: Apache-2.0
// Requests to the monitor that served the page. Addresses are relative, so that the page works under
// any path. A token lives as long as the browser's tab.

const TOKEN_KEY = 'weir-token';

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

// The page without scripts sends it in the address, where it must not stay.
function takeFromAddress(): void {
  const url = new URL(location.href);
  const given = url.searchParams.get('token');
  if (given !== null) {
    sessionStorage.setItem(TOKEN_KEY, given);
    url.searchParams.delete('token');
    history.replaceState(null, '', url);
  }
}
takeFromAddress();

export function token(): string | null {
  return sessionStorage.getItem(TOKEN_KEY);
}

export function useToken(text: string): void {
  sessionStorage.setItem(TOKEN_KEY, text);
}

function headers(): HeadersInit {
  const known = token();
  return known === null ? {} : { Authorization: `Bearer ${known}` };
}

async function refusal(answer: Response): Promise<Refused> {
  try {
    const body = (await answer.json()) as { message?: string };
    return new Refused(answer.status, body.message ?? answer.statusText);
  } catch {
    return new Refused(answer.status, answer.statusText);
  }
}

export async function get<T>(path: string): Promise<T> {
  const answer = await fetch(path, { headers: headers(), cache: 'no-cache' });
  if (!answer.ok) {
    throw await refusal(answer);
  }
  return (await answer.json()) as T;
}

export async function send(method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<void> {
  const answer = await fetch(path, {
    method,
    headers: { ...headers(), 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) {
    throw await refusal(answer);
  }
}

export const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));
