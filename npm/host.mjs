/** The platform package of this machine, `linux-x64-gnu` for example. */
export function hostPackage() {
  const { platform, arch } = process;
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

function isMusl() {
  // The report would look up the names of every peer otherwise.
  process.report.excludeNetwork = true;
  // Without this the report looks names up.
  if ('excludeNetwork' in process.report) process.report.excludeNetwork = true;
  const report = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
  return report.header.glibcVersionRuntime === undefined;
}
