// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them.

export const rateText = (value: number | null): string =>
  value === null ? '…' : `${value >= 100 ? Math.round(value) : value.toFixed(1)} /s`;

export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
