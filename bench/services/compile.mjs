// Compiles a TypeScript project with the compiler's API, as a build does: argument 1 is the folder.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const folder = process.argv[2];
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map((name) => join(folder, name));
const program = ts.createProgram(files, {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
});
const found = ts.getPreEmitDiagnostics(program).length;
console.log(`${files.length} files, ${program.getSourceFiles().length} with libraries, ${found} remarks`);
