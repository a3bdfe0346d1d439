// SPDX-License-Identifier: Apache-2.0
// What the views of a relay and of an engine have in common: a head, what is below it, and what is
// said until there is something to show.

import type { ComponentChildren } from 'preact';
import type { Looks } from '../state/neighbour';

interface Props<T> {
  looks: Looks<T>;
  name: string;
  head: (now: T, before: T | null) => ComponentChildren;
  body: (now: T, before: T | null) => ComponentChildren;
}

export function Neighbour<T>({ looks: { now, before, problem }, name, head, body }: Props<T>) {
  return (
    <>
      {now !== null && head(now, before)}
      <main id="main" tabIndex={-1}>
        {problem !== null && (
          <p class="error" role="alert">
            {problem}
          </p>
        )}
        {now === null && problem === null && <p role="status">asking the {name}</p>}
        {now !== null && body(now, before)}
      </main>
    </>
  );
}

export function TextFilter({ text, change }: { text: string; change: (text: string) => void }) {
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      <label>
        Text
        <input type="search" value={text} onInput={(event) => change(event.currentTarget.value)} />
      </label>
    </form>
  );
}
