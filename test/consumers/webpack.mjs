// webpack without its command line, which is a package of its own: node webpack.mjs <configuration>
import webpack from 'webpack';

const { default: config } = await import(process.argv[2]);
webpack(config, (error, stats) => {
  if (error === null && stats?.hasErrors() === false) return;
  console.error(error ?? stats?.toString());
  process.exitCode = 1;
});
