// SPDX-License-Identifier: Apache-2.0
// Latency over time, drawn by uPlot; the numbers are said below for those who do not see it.

import uPlot from 'uplot';
import { useEffect, useRef } from 'preact/hooks';
import { msText } from '../state/time';
import type { Bucket } from '../state/types';

const HEIGHT = 180;

function options(width: number, seconds: number, element: HTMLElement): uPlot.Options {
  const now = Date.now() / 1000;
  const style = getComputedStyle(element);
  const ink = style.getPropertyValue('--ink');
  const line = style.getPropertyValue('--line');
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: () => [now - seconds, now] }, y: { range: (_plot, _low, high) => [0, Math.max(high, 1) * 1.1] } },
    axes: [axis, { ...axis, size: 56, values: (_plot, ticks) => ticks.map((tick) => msText(tick)) }],
    series: [
      {},
      { label: 'average', stroke: style.getPropertyValue('--accent'), width: 2 },
      { label: 'longest', stroke: style.getPropertyValue('--degraded'), width: 1, dash: [4, 3] },
    ],
  };
}

export function Chart({ buckets, seconds }: { buckets: Bucket[]; seconds: number }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (element === null || buckets.length === 0) {
      return undefined;
    }
    const data: uPlot.AlignedData = [
      buckets.map((bucket) => Date.parse(bucket.t) / 1000),
      buckets.map((bucket) => bucket.avg_ms),
      buckets.map((bucket) => bucket.max_ms),
    ];
    const plot = new uPlot(options(element.clientWidth, seconds, element), data, element);
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [buckets, seconds]);
  const longest = Math.max(0, ...buckets.map((bucket) => bucket.max_ms ?? 0));
  const failures = buckets.reduce((sum, bucket) => sum + bucket.failures, 0);
  const checks = buckets.reduce((sum, bucket) => sum + bucket.checks, 0);
  return (
    <figure class="chart">
      <div ref={place} aria-hidden="true" />
      <figcaption>
        {checks} checks, {failures} failed, the longest took {msText(longest)}. Line: average; dashes: longest.
      </figcaption>
    </figure>
  );
}
