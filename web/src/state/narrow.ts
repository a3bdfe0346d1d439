// SPDX-License-Identifier: Apache-2.0
// Is the window so narrow that what stands side by side elsewhere stands one below the other?

import { useEffect, useMemo, useState } from 'preact/hooks';

const NARROW = '(max-width: 800px)'; // as the stylesheet has it

export function useNarrow(): boolean {
  const query = useMemo(() => window.matchMedia(NARROW), []);
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const change = (): void => setNarrow(query.matches);
    query.addEventListener('change', change);
    return () => query.removeEventListener('change', change);
  }, [query]);
  return narrow;
}
