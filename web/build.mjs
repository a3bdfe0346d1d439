// SPDX-License-Identifier: Apache-2.0
// Bundles the page: dist/app.js and dist/style.css, and both compressed, which is how they are served.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

mkdirSync('dist', { recursive: true });
await build({
  entryPoints: { app: 'src/main.tsx', style: 'src/style.css' },
  outdir: 'dist',
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['chrome109', 'firefox115', 'safari16'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'warning',
});
for (const name of ['app.js', 'style.css']) {
  writeFileSync(`dist/${name}.gz`, gzipSync(readFileSync(`dist/${name}`), { level: 9, mtime: 0 }));
}
