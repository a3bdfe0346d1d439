// SPDX-License-Identifier: Apache-2.0
// What the views of a relay and of an engine have in common: a head, what is below it, and what is
// said until there is something to show, or when it is old.

import type { ComponentChildren } from 'preact';
import { useStore, type State as Known } from '../state/store';
import type { PartRow } from '../state/types';
import { Age } from './parts';

interface Props {
  name: 'relay' | 'engine';
  head: (known: Known) => ComponentChildren;
  body: (known: Known) => ComponentChildren;
}

export function Neighbour({ name, head, body }: Props) {
  const known = useStore();
  const part = known.tables.table<PartRow>('parts').get(name);
  const heard = part?.heard ?? false;
  const problem = part?.problem ?? null;
  return (
    <>
      {heard && head(known)}
      <main id="main" tabIndex={-1}>
        {problem !== null && (
          <p class="error" role="alert">
            {problem}
            {heard && part !== undefined && (
              <>
                . What is shown is how it was, <Age time={part.since} />.
              </>
            )}
          </p>
        )}
        {!heard && problem === null && <p role="status">asking the {name}</p>}
        {heard && body(known)}
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
