// node rollup.mjs <entry> <output>
import commonjs from '@rollup/plugin-commonjs';
import resolve from '@rollup/plugin-node-resolve';
import { rollup } from 'rollup';

const [input, file] = process.argv.slice(2);
const bundle = await rollup({
  input,
  plugins: [
    resolve({ preferBuiltins: true, exportConditions: ['node'] }),
    commonjs({ ignoreDynamicRequires: true }),
  ],
  onwarn() {},
});
await bundle.write({ file, format: 'es' });
