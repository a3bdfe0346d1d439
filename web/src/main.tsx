// SPDX-License-Identifier: Apache-2.0
// The page stands before this runs: the server has written it. From here on it is kept up to date.

import { render } from 'preact';
import { store } from './state/store';
import { Page } from './view/Page';

const place = document.getElementById('page');
if (place !== null) {
  // What the server wrote stays until there is something newer.
  const stop = store.subscribe(() => {
    if (store.state.dashboard !== null || store.state.wantsToken) {
      stop();
      place.replaceChildren();
      render(<Page />, place);
    }
  });
  store.start();
}
