// SPDX-License-Identifier: Apache-2.0
import { useState } from 'preact/hooks';
import { token, useToken } from '../net/api';
import { store } from '../state/store';

export function TokenForm() {
  const [text, setText] = useState('');
  function submit(event: SubmitEvent): void {
    event.preventDefault();
    useToken(text);
    store.start();
  }
  return (
    <main>
      <h1>A token is wanted</h1>
      <form class="filters" onSubmit={submit}>
        <label>
          Token
          <input
            type="password"
            autocomplete="current-password"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <button>Show</button>
      </form>
      <p role="status">{token() === null ? '' : 'The token is not accepted.'}</p>
    </main>
  );
}
